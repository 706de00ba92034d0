// Changed blocks in each pair of the sequence: one strip per layer; a column may hold many pairs.

const LABEL = 16, BARS = 32, GAP = 4, AXIS = 22; // heights in pixels
const SECONDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600,
  7200, 14400, 28800, 86400];

const timeline = {
  canvas: byId("timeline"), background: document.createElement("canvas"), width: 0, bottom: 0,
  labels: [], // [text, y] of each strip
};

function countOf(layer, pair) {
  return pairs[LAYERS[layer]][pair];
}

function labelOf(layer) {
  return LAYERS[layer].replace("_", " ");
}

// Draw the part that does not depend on the position.
function drawTimeline() {
  const width = timeline.width = timeline.canvas.clientWidth;
  const maxima = [1, 2].map((layer) => {
    return state.sequence.pairs.reduce((high, pair) => Math.max(high, countOf(layer, pair)), 0);
  });
  timeline.bottom = maxima.reduce((sum, count) => sum + LABEL + (count ? BARS + GAP : 0), 0);
  timeline.canvas.style.height = timeline.bottom + AXIS + "px";
  const context = prepareCanvas(timeline.background, width, timeline.bottom + AXIS);
  context.font = font(11);
  context.textBaseline = "top";
  timeline.labels = [];
  let top = 0;
  maxima.forEach((count, index) => {
    const label = labelOf(index + 1);
    const text = count ? `${label}, maximum ${format(count)}` : `${label}: none`;
    timeline.labels.push([text, top + 2]);
    if (count) drawStrip(context, index + 1, top + LABEL + BARS, count, width);
    top += LABEL + (count ? BARS + GAP : 0);
  });
  drawAxis(context, width);
  drawCursor();
}

function drawStrip(context, layer, bottom, maximum, width) {
  const shown = state.sequence.pairs, count = shown.length, scale = BARS / maximum;
  context.fillStyle = cssColor("rule");
  context.fillRect(0, bottom, width, 1);
  context.fillStyle = cssColor(LAYERS[layer]);
  const columns = Math.min(count, Math.max(1, Math.floor(width)));
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * count) / columns);
    const to = Math.max(from + 1, Math.floor(((column + 1) * count) / columns));
    let low = Infinity, high = 0;
    for (let i = from; i < to; i++) {
      const value = countOf(layer, shown[i]);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const x = (column * width) / columns, columnWidth = width / columns;
    const barWidth = columnWidth > 4 ? columnWidth - 1 : columnWidth;
    context.globalAlpha = 0.4; // up to the maximum of these pairs
    context.fillRect(x, bottom - high * scale, barWidth, high * scale);
    context.globalAlpha = 1; // up to the minimum
    context.fillRect(x, bottom - low * scale, barWidth, low * scale);
  }
}

function areTimesKnown() {
  const shown = state.sequence.pairs;
  if (!pairs.time1) return false;
  for (let i = 0; i < shown.length; i++) {
    if (!Number.isFinite(timeOf(shown[i])) || (i && timeOf(shown[i]) < timeOf(shown[i - 1]))) return false;
  }
  return timeOf(shown[shown.length - 1]) > timeOf(shown[0]);
}

function drawAxis(context, width) {
  const shown = state.sequence.pairs, count = shown.length, top = timeline.bottom;
  const maxTicks = Math.max(1, Math.floor(width / 90));
  const ticks = []; // [index, label]
  if (areTimesKnown()) {
    const start = timeOf(shown[0]), length = timeOf(shown[count - 1]) - start;
    const step = SECONDS.find((s) => length / s <= maxTicks) || SECONDS[SECONDS.length - 1];
    for (let tick = Math.ceil(start / step - 1e-9), i = 0; i < count; tick++) {
      while (i < count && timeOf(shown[i]) < tick * step - 1e-6) i++;
      if (i < count) ticks.push([i, clock(tick * step, step)]);
    }
  } else {
    const power = 10 ** Math.floor(Math.log10(Math.max(1, count / maxTicks)));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => count / s <= maxTicks) || count;
    ticks.push([0, "1"]);
    for (let number = step; number <= count; number += step) {
      if (number > 1) ticks.push([number - 1, format(number)]);
    }
  }
  context.fillStyle = cssColor("muted");
  let free = 0;
  for (const [index, text] of ticks) {
    const x = ((index + 0.5) * width) / count, half = context.measureText(text).width / 2;
    const left = Math.max(0, Math.min(width - 2 * half, x - half));
    if (left < free) continue;
    context.fillRect(Math.round(x), top - 3, 1, 4);
    context.fillText(text, left, top + 4);
    free = left + 2 * half + 10;
  }
}

// Format seconds; the step between ticks determines the number of decimals.
function clock(seconds, step) {
  if (!Number.isFinite(seconds)) return "";
  const decimals = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  if (seconds < 60) return seconds.toFixed(decimals) + " s";
  const rest = (seconds % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function drawCursor() {
  const {canvas, background, width} = timeline;
  if (canvas.width !== background.width || canvas.height !== background.height) {
    canvas.width = background.width;
    canvas.height = background.height;
  }
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(background, 0, 0);
  const ratio = canvas.width / Math.max(1, width);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const count = state.sequence.pairs.length, columnWidth = width / count;
  const x = state.position * columnWidth, height = timeline.bottom - GAP;
  context.fillStyle = cssColor("ink");
  if (columnWidth > 6) {
    context.globalAlpha = 0.1;
    context.fillRect(x, 0, columnWidth, height);
    context.globalAlpha = 1;
  }
  context.fillRect(Math.min(width - 1.5, x + columnWidth / 2 - 0.75), 0, 1.5, height);
  drawLabels(context);
}

// Draw the labels of the strips over the cursor, on a ground of their own.
function drawLabels(context) {
  context.font = font(11);
  context.textBaseline = "top";
  for (const [text, y] of timeline.labels) {
    context.fillStyle = cssColor("paper");
    context.fillRect(3, y - 1, context.measureText(text).width + 6, 13);
    context.fillStyle = cssColor("muted");
    context.fillText(text, 6, y);
  }
}

function positionAt(clientX) {
  const box = timeline.canvas.getBoundingClientRect();
  const count = state.sequence.pairs.length;
  return clamp(Math.floor(((clientX - box.left) / box.width) * count), 0, count - 1);
}
