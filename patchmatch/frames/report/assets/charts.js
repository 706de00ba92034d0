// Charts over all pairs of the sequence: histogram of displacement lengths, heat map of boxes.

const HEAT_SIZE = 192; // bins of the heat map along its long side

// Call a function with each visible row of the sequence.
function forEachVisibleRow(visit) {
  for (const pair of state.sequence.pairs) {
    for (let row = firstRow[pair]; row < firstRow[pair + 1]; row++) {
      if (isVisible(row)) visit(row, pair);
    }
  }
}

// Return the smallest of 1, 2, 5 times a power of ten that is at least ``minimum``.
function niceStep(minimum) {
  const power = 10 ** Math.floor(Math.log10(minimum));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= minimum * 0.999);
}

function drawHistogram() {
  const lengths = LAYERS.map(() => []);
  let longest = 0, known = 0, all = 0;
  forEachVisibleRow((row) => {
    all++;
    const length = Math.hypot(valueOf(rows.dx, row), valueOf(rows.dy, row));
    if (!Number.isFinite(length)) return;
    known++;
    longest = Math.max(longest, length);
    lengths[rows.layer[row]].push(length);
  });
  byId("histogramCount").textContent = known ? `${format(known)} of ${format(all)} boxes` : "none known";
  const canvas = byId("histogram");
  canvas.hidden = !known;
  if (!known) return;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const context = prepareCanvas(canvas, width, height);
  const step = niceStep(Math.max(longest, 1) / 26);
  const count = Math.max(1, Math.floor(longest / step + 1e-6) + 1);
  const bins = lengths.map((values) => {
    const bin = new Int32Array(count);
    for (const value of values) bin[Math.min(count - 1, Math.floor(value / step + 1e-6))]++;
    return bin;
  });
  let maximum = 1;
  for (let i = 0; i < count; i++) maximum = Math.max(maximum, bins.reduce((sum, bin) => sum + bin[i], 0));
  const bottom = height - 18, top = 14, barWidth = width / count;
  for (let i = 0; i < count; i++) {
    let y = bottom;
    bins.forEach((bin, layer) => {
      const barHeight = (bin[i] / maximum) * (bottom - top);
      context.fillStyle = cssColor(LAYERS[layer]);
      context.fillRect(i * barWidth, y - barHeight, Math.max(1, barWidth - 1), barHeight);
      y -= barHeight;
    });
  }
  context.fillStyle = cssColor("rule");
  context.fillRect(0, bottom, width, 1);
  context.font = font(11);
  context.fillStyle = cssColor("muted");
  context.fillText(`maximum ${format(maximum)} boxes`, 0, 9);
  const tick = niceStep((count * step) / 5);
  let free = 0;
  for (let value = 0; value <= count * step; value += tick) {
    const x = (value / step) * barWidth, text = String(+value.toFixed(2));
    const size = context.measureText(text).width;
    const left = value ? x - size / 2 : x;
    if (left < free || left + size > width - 20) continue;
    context.fillText(text, left, height - 4);
    free = left + size + 6;
  }
  context.fillText("px", width - 13, height - 4);
}

let heatRequest = 0; // a newer request cancels an older one that still loads its thumbnail

async function drawHeatMap() {
  const request = ++heatRequest;
  const canvas = byId("heat"), origin = state.sequence.pairs[0];
  const width = pairs.width[origin] || 1, height = pairs.height[origin] || 1;
  const shownWidth = canvas.clientWidth;
  const shownHeight = Math.min((shownWidth * height) / width, 2 * shownWidth);
  const {counts, columns, lines, maximum} = countBoxes(width, height);
  const image = await loadThumbnail(pairs.thumbnail[origin]);
  if (request !== heatRequest) return;
  canvas.style.height = shownHeight + "px";
  const context = prepareCanvas(canvas, shownWidth, shownHeight);
  if (image) {
    context.filter = "grayscale(1) brightness(0.5)";
    context.drawImage(image, 0, 0, shownWidth, shownHeight);
    context.filter = "none";
  } else {
    context.fillStyle = "#222";
    context.fillRect(0, 0, shownWidth, shownHeight);
  }
  const overlay = document.createElement("canvas");
  overlay.width = columns;
  overlay.height = lines;
  const overlayContext = overlay.getContext("2d"), pixels = overlayContext.createImageData(columns, lines);
  for (let i = 0; i < counts.length; i++) {
    pixels.data.set(heatColor(maximum ? counts[i] / maximum : 0), 4 * i);
  }
  overlayContext.putImageData(pixels, 0, 0);
  context.drawImage(overlay, 0, 0, shownWidth, shownHeight);
  byId("heatMaximum").textContent = maximum ? `maximum ${format(maximum)} boxes` : "none";
}

// Count the boxes over each bin by a 2D difference array, so that the cost of a box is constant.
function countBoxes(width, height) {
  const size = Math.max(width, height) / HEAT_SIZE;
  const columns = Math.max(1, Math.round(width / size)), lines = Math.max(1, Math.round(height / size));
  const corners = new Int32Array((columns + 1) * (lines + 1)), counts = new Int32Array(columns * lines);
  forEachVisibleRow((row, pair) => {
    const sx = columns / (pairs.width[pair] || 1), sy = lines / (pairs.height[pair] || 1);
    const x0 = clamp(Math.round(rows.x0[row] * sx), 0, columns), x1 = clamp(Math.round(rows.x1[row] * sx), 0, columns);
    const y0 = clamp(Math.round(rows.y0[row] * sy), 0, lines), y1 = clamp(Math.round(rows.y1[row] * sy), 0, lines);
    corners[y0 * (columns + 1) + x0]++;
    corners[y0 * (columns + 1) + x1]--;
    corners[y1 * (columns + 1) + x0]--;
    corners[y1 * (columns + 1) + x1]++;
  });
  let maximum = 0;
  for (let y = 0; y < lines; y++) {
    for (let x = 0, sum = 0; x < columns; x++) {
      sum += corners[y * (columns + 1) + x];
      counts[y * columns + x] = sum + (y ? counts[(y - 1) * columns + x] : 0);
      maximum = Math.max(maximum, counts[y * columns + x]);
    }
  }
  return {counts, columns, lines, maximum};
}

// RGBA from transparent over violet and orange to pale yellow, with increasing lightness.
const HEAT_COLORS = [
  [60, 20, 110, 0], [120, 28, 109, 170], [212, 72, 66, 205], [250, 165, 30, 225], [252, 245, 180, 240],
];

function heatColor(share) {
  if (share <= 0) return HEAT_COLORS[0];
  const position = Math.sqrt(share) * (HEAT_COLORS.length - 1);
  const lower = Math.min(HEAT_COLORS.length - 2, Math.floor(position));
  return HEAT_COLORS[lower].map((value, i) => value + (HEAT_COLORS[lower + 1][i] - value) * (position - lower));
}
