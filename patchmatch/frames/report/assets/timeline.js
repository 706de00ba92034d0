// Changed blocks in each pair of the sequence: one strip per layer; a column may hold many pairs.

const LABEL = 16, BARS = 32; // heights in pixels

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
