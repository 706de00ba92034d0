// What is shown now, and what changes it.

const PEN = ["#c9ccd1", "#3fe06f", "#ff4238", "#c08bff"]; // of boxes over pictures, by layer
const state = {
  sequence: sequences[0], at: 0, lit: -1, arrows: true, earlier: false, least: 0,
  layers: [true, true, true, true], playing: 0,
};

function byId(name) {
  return document.getElementById(name);
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name);
}

function font(size) {
  return `${size}px ${getComputedStyle(document.body).fontFamily}`;
}

function format(number) {
  return number.toLocaleString("en-US");
}

function isVisible(row) {
  const score = rows.score[row];
  return state.layers[rows.layer[row]] && (score === UNKNOWN || score >= state.least * 10000 - 0.5);
}

function visibleRows(pair) {
  const found = [];
  for (let row = first[pair]; row < first[pair + 1]; row++) if (isVisible(row)) found.push(row);
  return found;
}

function currentPair() {
  return state.sequence.pairs[state.at];
}

// Show the pair at a position of the sequence.
function go(at) {
  const count = state.sequence.pairs.length;
  state.at = clamp(at, 0, count - 1);
  state.lit = -1;
  const pair = currentPair(), canShowEarlier = earlierShot(pair) !== undefined;
  const name0 = data.names[pairs.frame0[pair]], name1 = data.names[pairs.frame1[pair]];
  byId("position").value = state.at;
  const text = `${name0} to ${name1}, ${state.at + 1} of ${count}`;
  byId("position").setAttribute("aria-valuetext", text);
  byId("number").textContent = `${format(state.at + 1)} of ${format(count)}`;
  const parts = [element("span")];
  const [tag0, tag1] = state.earlier && canShowEarlier ? ["b", "bdi"] : ["bdi", "b"];
  parts[0].append(element(tag0, name0), " to ", element(tag1, name1)); // bold is the one shown
  const time = timeOf(pair);
  if (Number.isFinite(time)) parts.push(element("span", clock(time, 0.01)));
  const path = data.pictures[pair];
  if (path) {
    const link = element("a", "full picture");
    link.href = "./" + path.split("/").map(encodeURIComponent).join("/");
    parts.push(link);
  }
  byId("caption").replaceChildren(...parts);
  byId("earlier").disabled = !canShowEarlier;
  for (const count of document.querySelectorAll("#layers output")) {
    count.textContent = format(countKept(pair, +count.dataset.layer));
  }
  listRows(pair);
  moveCursor();
  return showFrame(pair);
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}

function countKept(pair, layer) {
  let count = 0;
  for (let row = first[pair]; row < first[pair + 1]; row++) count += rows.layer[row] === layer;
  return count;
}

// Draw everything that depends on which boxes are switched on; all pairs only once a frame.
let waiting = false;
function filter() {
  listRows(currentPair());
  drawFrame();
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawHistogram();
    drawHeat();
  });
}

function chooseSequence(index) {
  play(false);
  state.sequence = sequences[index];
  byId("position").max = state.sequence.pairs.length - 1;
  redraw(0);
}

function redraw(at = state.at) {
  state.at = at;
  drawTimeline();
  drawHistogram();
  drawHeat();
  const count = state.sequence.pairs.length;
  const legend = "pale: the most in a column, full: the least";
  byId("stretch").textContent = count > timeline.width ? legend : "";
  return go(at);
}

function play(on) {
  clearTimeout(state.playing);
  state.playing = 0;
  byId("play").classList.toggle("playing", on);
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (!on) return;
  const count = state.sequence.pairs.length;
  if (state.at === count - 1) go(0);
  const step = async () => {
    const start = performance.now();
    const wanted = wait(), skip = Math.max(1, Math.ceil(25 / wanted)); // no more than 40 a second
    const token = state.playing;
    await go(state.at + skip);
    if (state.playing !== token) return; // paused meanwhile
    if (state.at >= count - 1) play(false);
    else state.playing = setTimeout(step, Math.max(0, wanted * skip - (performance.now() - start)));
  };
  state.playing = setTimeout(step, wait());
}

// Milliseconds until the next pair: as it was filmed, where that is known, else ten a second.
function wait() {
  const shown = state.sequence.pairs, next = Math.min(state.at + 1, shown.length - 1);
  const step = 1000 * (timeOf(shown[next]) - timeOf(shown[state.at]));
  return (step > 0 ? clamp(step, 10, 2000) : 100) / Number(byId("speed").value);
}

function light(row) {
  if (row === state.lit) return;
  state.lit = row;
  for (const line of byId("rows").children) line.classList.toggle("lit", +line.dataset.row === row);
  drawFrame();
}

function makeLayers() {
  const hasStill = rows.layer.includes(0);
  LAYERS.forEach((name, layer) => {
    if (layer === 0 && !hasStill) return;
    const label = element("label"), box = element("input"), count = element("output");
    box.type = "checkbox";
    box.checked = true;
    box.id = "layer-" + name;
    box.addEventListener("change", () => {
      state.layers[layer] = box.checked;
      filter();
    });
    count.dataset.layer = layer;
    label.append(box, element("i", "", name), element("span", name.replace("_", " ")), count);
    byId("layers").append(label);
  });
}

function listenToKeys() {
  const jumps = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity};
  const switches = {
    1: "layer-one_pixel", 2: "layer-larger", 3: "layer-unmatched", a: "arrows", e: "earlier",
  };
  document.addEventListener("keydown", (event) => {
    const on = event.target.closest("input, select, button, summary, a, .scroll");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in jumps && !(on && on.matches("#least, select, .scroll"))) {
      go(state.at + jumps[event.key] * (event.shiftKey ? 10 : 1));
    } else if (event.key === " " && !(on && on.matches("[type=checkbox], select, button, summary"))) {
      play(!state.playing);
    } else if (event.key in switches && !(on && on.matches("select"))) {
      byId(switches[event.key]).click();
    } else {
      return;
    }
    event.preventDefault();
  });
}

function listen() {
  const {canvas} = frame, range = byId("position");
  range.addEventListener("input", () => go(range.valueAsNumber));
  byId("back").addEventListener("click", () => go(state.at - 1));
  byId("forth").addEventListener("click", () => go(state.at + 1));
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("sequence").addEventListener("change", (event) => chooseSequence(event.target.selectedIndex));
  byId("arrows").addEventListener("change", (event) => {
    state.arrows = event.target.checked;
    drawFrame();
  });
  byId("earlier").addEventListener("change", (event) => {
    state.earlier = event.target.checked;
    go(state.at);
  });
  byId("least").addEventListener("input", (event) => {
    state.least = event.target.valueAsNumber;
    byId("leastShown").textContent = state.least.toFixed(2);
    filter();
  });
  const point = (event) => {
    const row = rowAt(event.offsetX, event.offsetY);
    light(row);
    showTip(row < 0 ? "" : describe(row, frame.pair), event.clientX, event.clientY);
  };
  const forget = (event) => {
    if (event.pointerType === "touch") return; // a finger that was lifted still means the box
    light(-1);
    showTip("");
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointerleave", forget);
  const table = byId("rows"), rowOf = (event) => +(event.target.closest("tr")?.dataset.row ?? -1);
  table.addEventListener("pointerover", (event) => light(rowOf(event)));
  table.addEventListener("pointerleave", () => light(-1));
  table.addEventListener("focusin", (event) => light(rowOf(event)));
  listenToTimeline(timeline.canvas);
  window.addEventListener("resize", () => redraw());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  listenToKeys();
}

function listenToTimeline(strip) {
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    go(positionAt(event.clientX));
  });
  strip.addEventListener("pointermove", (event) => {
    const at = positionAt(event.clientX), pair = state.sequence.pairs[at];
    if (event.buttons) go(at);
    const counts = [1, 2, 3].map((layer) => {
      return `${format(countOf(layer, pair))} ${LAYERS[layer].replace("_", " ")}`;
    });
    const time = Number.isFinite(timeOf(pair)) ? ", " + clock(timeOf(pair), 0.01) : "";
    const text = `${data.names[pairs.frame1[pair]]}${time}\n${counts.join(", ")} of `;
    showTip(`${text}${format(pairs.blocks[pair])} blocks`, event.clientX, event.clientY);
  });
  strip.addEventListener("pointerleave", () => showTip(""));
}

showRun();
makeLayers();
byId("columns").append(...COLUMNS.map(([name]) => element("th", name)));
if (pairCount) {
  byId("sequence").append(...sequences.map(({name}) => element("option", name)));
  byId("sequences").hidden = sequences.length === 1;
  byId("name").hidden = sequences.length > 1;
  byId("name").textContent = sequences[0].name;
  const title = sequences.length === 1 ? sequences[0].name : sequences.length + " sequences";
  document.title = `${title}, patchmatch report`;
  listen();
  chooseSequence(0);
}
