// What all pairs of the sequence have in common: lengths of displacements, and places.

const CELLS = 192; // of the heat map, along its long side

// Call a function with each row of the sequence that is switched on.
function eachRow(visit) {
  for (const pair of state.sequence.pairs) {
    for (let row = first[pair]; row < first[pair + 1]; row++) {
      if (isVisible(row)) visit(row, pair);
    }
  }
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= least * 0.999);
}

function drawHistogram() {
  const lengths = [[], [], [], []]; // by layer
  let longest = 0, known = 0, all = 0;
  eachRow((row) => {
    all++;
    const length = Math.hypot(valueOf(rows.dx, row), valueOf(rows.dy, row));
    if (!Number.isFinite(length)) return;
    known++;
    longest = Math.max(longest, length);
    lengths[rows.layer[row]].push(length);
  });
  byId("lengths").textContent = known ? `${format(known)} of ${format(all)} boxes` : "none is known";
  const canvas = byId("histogram");
  canvas.hidden = !known;
  if (!known) return;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const context = prepare(canvas, width, height);
  const step = niceStep(Math.max(longest, 1) / 26);
  const count = Math.max(1, Math.floor(longest / step + 1e-6) + 1);
  const bins = lengths.map((values) => {
    const bin = new Int32Array(count);
    for (const value of values) bin[Math.min(count - 1, Math.floor(value / step + 1e-6))]++;
    return bin;
  });
  let most = 1;
  for (let i = 0; i < count; i++) most = Math.max(most, bins.reduce((sum, bin) => sum + bin[i], 0));
  const bottom = height - 18, top = 14, wide = width / count;
  for (let i = 0; i < count; i++) {
    let y = bottom;
    bins.forEach((bin, layer) => {
      const tall = (bin[i] / most) * (bottom - top);
      context.fillStyle = ink(COLORS[layer]);
      context.fillRect(i * wide, y - tall, Math.max(1, wide - 1), tall);
      y -= tall;
    });
  }
  context.fillStyle = ink("rule");
  context.fillRect(0, bottom, width, 1);
  context.font = font(11);
  context.fillStyle = ink("quiet");
  context.fillText(`at most ${format(most)} boxes`, 0, 9);
  const tick = niceStep((count * step) / 5);
  for (let value = 0; value <= count * step; value += tick) {
    const x = (value / step) * wide, text = String(+value.toFixed(2));
    const size = context.measureText(text).width;
    if (x + size < width - 18) context.fillText(text, value ? x - size / 2 : x, height - 4);
  }
  context.fillText("px", width - 13, height - 4);
}

const heat = {turn: 0};

async function drawHeat() {
  const turn = ++heat.turn;
  const canvas = byId("heat"), origin = state.sequence.pairs[0];
  const width = pairs.width[origin] || 1, height = pairs.height[origin] || 1;
  const shownWidth = canvas.clientWidth;
  const shownHeight = Math.min((shownWidth * height) / width, 2 * shownWidth);
  const {counts, columns, lines, most} = countPlaces(width, height);
  const image = await pictureOf(pairs.shot[origin]);
  if (turn !== heat.turn) return;
  canvas.style.height = shownHeight + "px";
  const context = prepare(canvas, shownWidth, shownHeight);
  if (image) {
    context.filter = "grayscale(1) brightness(0.5)";
    context.drawImage(image, 0, 0, shownWidth, shownHeight);
    context.filter = "none";
  } else {
    context.fillStyle = "#222";
    context.fillRect(0, 0, shownWidth, shownHeight);
  }
  const layer = document.createElement("canvas");
  layer.width = columns;
  layer.height = lines;
  const pen = layer.getContext("2d"), pixels = pen.createImageData(columns, lines);
  for (let i = 0; i < counts.length; i++) {
    const [red, green, blue, alpha] = glow(most ? counts[i] / most : 0);
    pixels.data.set([red, green, blue, alpha], 4 * i);
  }
  pen.putImageData(pixels, 0, 0);
  context.drawImage(layer, 0, 0, shownWidth, shownHeight);
  byId("densest").textContent = most ? `at most ${format(most)} in one place` : "none";
}

// Count the boxes over each cell: corners first, then sums, so that large boxes cost no more.
function countPlaces(width, height) {
  const size = Math.max(width, height) / CELLS;
  const columns = Math.max(1, Math.round(width / size)), lines = Math.max(1, Math.round(height / size));
  const corners = new Int32Array((columns + 1) * (lines + 1)), counts = new Int32Array(columns * lines);
  const across = (x) => Math.max(0, Math.min(columns, x)), down = (y) => Math.max(0, Math.min(lines, y));
  eachRow((row, pair) => {
    const sx = columns / (pairs.width[pair] || 1), sy = lines / (pairs.height[pair] || 1);
    const x0 = across(Math.round(rows.x0[row] * sx)), x1 = across(Math.round(rows.x1[row] * sx));
    const y0 = down(Math.round(rows.y0[row] * sy)), y1 = down(Math.round(rows.y1[row] * sy));
    corners[y0 * (columns + 1) + x0]++;
    corners[y0 * (columns + 1) + x1]--;
    corners[y1 * (columns + 1) + x0]--;
    corners[y1 * (columns + 1) + x1]++;
  });
  let most = 0;
  for (let y = 0; y < lines; y++) {
    for (let x = 0, line = 0; x < columns; x++) {
      line += corners[y * (columns + 1) + x];
      counts[y * columns + x] = line + (y ? counts[(y - 1) * columns + x] : 0);
      most = Math.max(most, counts[y * columns + x]);
    }
  }
  return {counts, columns, lines, most};
}

// From nothing over violet and orange to pale yellow: lighter is more, to every eye.
const GLOW = [
  [60, 20, 110, 0], [120, 28, 109, 170], [212, 72, 66, 205], [250, 165, 30, 225], [252, 245, 180, 240],
];

function glow(part) {
  if (part <= 0) return GLOW[0];
  const place = Math.sqrt(part) * (GLOW.length - 1), below = Math.min(GLOW.length - 2, Math.floor(place));
  return GLOW[below].map((value, i) => value + (GLOW[below + 1][i] - value) * (place - below));
}
