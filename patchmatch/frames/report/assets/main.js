// State of the page, and the controls that change it.

const state = {
  sequence: sequences[0], position: 0, highlighted: -1, arrows: true, earlier: false, minScore: 0,
  layers: [true, true, true], unmatched: true, timer: 0,
};

function isVisible(row) {
  const score = rows.score[row];
  if (!state.layers[rows.layer[row]] || !(state.unmatched || rows.matched[row])) return false;
  return (score === UNKNOWN || score >= state.minScore * 10000 - 0.5);
}

function visibleRows(pair) {
  const visible = [];
  for (let row = firstRow[pair]; row < firstRow[pair + 1]; row++) if (isVisible(row)) visible.push(row);
  return visible;
}

function shownCount() {
  return state.sequence.pairs.length;
}

function timeAt(position) {
  return timeOf(state.sequence.pairs[position]);
}

function currentPair() {
  return state.sequence.pairs[state.position];
}

// Show the pair at a position in the sequence.
function goTo(position) {
  const count = state.sequence.pairs.length;
  state.position = clamp(position, 0, count - 1);
  state.highlighted = -1;
  const pair = currentPair(), canShowEarlier = earlierThumbnail(pair) !== undefined;
  const name0 = data.names[pairs.frame0[pair]], name1 = data.names[pairs.frame1[pair]];
  byId("position").value = state.position;
  const text = `${name0} to ${name1}, ${state.position + 1} of ${count}`;
  byId("position").setAttribute("aria-valuetext", text);
  byId("number").textContent = `${format(state.position + 1)} of ${format(count)}`;
  const parts = [element("span")];
  const [tag0, tag1] = state.earlier && canShowEarlier ? ["b", "bdi"] : ["bdi", "b"];
  parts[0].append(element(tag0, name0), " to ", element(tag1, name1)); // the displayed one is bold
  const time = timeOf(pair);
  if (Number.isFinite(time)) parts.push(element("span", clock(time, 0.01)));
  if (data.images[pair]) parts.push(linkTo(data.images[pair], "full image"));
  byId("caption").replaceChildren(...parts);
  byId("earlier").disabled = !canShowEarlier;
  for (const output of document.querySelectorAll("#layers output")) {
    output.textContent = format(countRows(pair, +output.dataset.layer));
  }
  updateTable(pair);
  drawCursor();
  return showFrame(pair);
}

function countRows(pair, layer) {
  let count = 0;
  for (let row = firstRow[pair]; row < firstRow[pair + 1]; row++) count += rows.layer[row] === layer;
  return count;
}

// Redraw all that depends on the visible boxes; the charts at most once per animation frame.
let isChartUpdatePending = false;
function updateVisible() {
  updateTable(currentPair());
  drawFrame();
  if (isChartUpdatePending) return;
  isChartUpdatePending = true;
  requestAnimationFrame(() => {
    isChartUpdatePending = false;
    drawHistogram();
    drawHeatMap();
  });
}

function selectSequence(index) {
  play(false);
  state.sequence = sequences[index];
  byId("position").max = state.sequence.pairs.length - 1;
  redraw(0);
}

function redraw(position = state.position) {
  state.position = position;
  drawTimeline();
  drawHistogram();
  drawHeatMap();
  const legend = "pale: maximum per column, solid: minimum";
  byId("timelineLegend").textContent = state.sequence.pairs.length > timeline.width ? legend : "";
  return goTo(position);
}

function highlight(row) {
  if (row === state.highlighted) return;
  state.highlighted = row;
  for (const line of byId("rows").children) {
    line.classList.toggle("highlighted", +line.dataset.row === row);
  }
  drawFrame();
}

function createLayerControls() {
  const hasStill = rows.layer.includes(0);
  LAYERS.forEach((name, layer) => {
    if (layer === 0 && !hasStill) return;
    const label = element("label"), box = element("input"), count = element("output");
    box.type = "checkbox";
    box.checked = true;
    box.id = "layer-" + name;
    box.addEventListener("change", () => {
      state.layers[layer] = box.checked;
      updateVisible();
    });
    count.dataset.layer = layer;
    label.append(box, element("i", "", name), element("span", labelOf(layer)), count);
    byId("layers").append(label);
  });
}

function addListeners() {
  const {canvas} = frame;
  byId("sequence").addEventListener("change", (event) => selectSequence(event.target.selectedIndex));
  byId("arrows").addEventListener("change", (event) => {
    state.arrows = event.target.checked;
    drawFrame();
  });
  byId("earlier").addEventListener("change", (event) => {
    state.earlier = event.target.checked;
    goTo(state.position);
  });
  byId("unmatched").addEventListener("change", (event) => {
    state.unmatched = event.target.checked;
    updateVisible();
  });
  byId("minScore").addEventListener("input", (event) => {
    state.minScore = event.target.valueAsNumber;
    byId("minScoreValue").textContent = state.minScore.toFixed(2);
    updateVisible();
  });
  const highlightAt = (event) => {
    const row = rowAt(event.offsetX, event.offsetY);
    highlight(row);
    showTooltip(row < 0 ? "" : tooltipText(row, frame.pair), event.clientX, event.clientY);
  };
  canvas.addEventListener("pointermove", highlightAt);
  canvas.addEventListener("pointerdown", highlightAt);
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "touch") return; // keep the tooltip after a tap
    highlight(-1);
    showTooltip("");
  });
  const table = byId("rows"), rowOf = (event) => +(event.target.closest("tr")?.dataset.row ?? -1);
  table.addEventListener("pointerover", (event) => highlight(rowOf(event)));
  table.addEventListener("pointerleave", () => highlight(-1));
  table.addEventListener("focusin", (event) => highlight(rowOf(event)));
  addTimelineListeners(timeline.canvas);
  window.addEventListener("resize", () => redraw());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  addTransportListeners({
    1: "layer-one_pixel", 2: "layer-larger", 3: "unmatched", a: "arrows", e: "earlier",
  });
}

function addTimelineListeners(canvas) {
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    goTo(positionAt(event.clientX));
  });
  canvas.addEventListener("pointermove", (event) => {
    const position = positionAt(event.clientX), pair = state.sequence.pairs[position];
    if (event.buttons) goTo(position);
    const counts = [1, 2].map((layer) => `${format(countOf(layer, pair))} ${labelOf(layer)}`);
    const time = Number.isFinite(timeOf(pair)) ? ", " + clock(timeOf(pair), 0.01) : "";
    const text = `${data.names[pairs.frame1[pair]]}${time}\n${counts.join(", ")} of `;
    const rest = `${format(pairs.blocks[pair])} blocks, ${format(pairs.unmatched[pair])} unmatched`;
    showTooltip(text + rest, event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerleave", () => showTooltip(""));
}

showRun();
createLayerControls();
byId("columns").append(...COLUMNS.map(([name]) => element("th", name)));
if (pairCount) {
  showNames(sequences.map(({name}) => name));
  addListeners();
  selectSequence(0);
}
