// The time axis under the frame: ticks, labels of the strips, and the cursor. A page defines shownCount,
// the number of positions, and timeAt, the seconds of one.

const GAP = 4, AXIS = 22; // heights in pixels
const SECONDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600,
  7200, 14400, 28800, 86400];

const timeline = {
  canvas: byId("timeline"), background: document.createElement("canvas"), width: 0, bottom: 0,
  labels: [], // [text, y] of each strip
};

function areTimesKnown() {
  const count = shownCount();
  for (let i = 0; i < count; i++) {
    if (!Number.isFinite(timeAt(i)) || (i && timeAt(i) < timeAt(i - 1))) return false;
  }
  return timeAt(count - 1) > timeAt(0);
}

function drawAxis(context, width) {
  const count = shownCount(), top = timeline.bottom;
  const maxTicks = Math.max(1, Math.floor(width / 90));
  const ticks = []; // [index, label]
  if (areTimesKnown()) {
    const start = timeAt(0), length = timeAt(count - 1) - start;
    const step = SECONDS.find((s) => length / s <= maxTicks) || SECONDS[SECONDS.length - 1];
    for (let tick = Math.ceil(start / step - 1e-9), i = 0; i < count; tick++) {
      while (i < count && timeAt(i) < tick * step - 1e-6) i++;
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
  const count = shownCount(), columnWidth = width / count;
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
  const count = shownCount();
  return clamp(Math.floor(((clientX - box.left) / box.width) * count), 0, count - 1);
}
