// State of the page, and the controls that change it.

const state = {sequence: sequences[0], position: 0, selected: -1, timer: 0};
const MAX_LISTED = 1000; // rows of a table
const COLUMNS = ["track", "first", "last", "frames", "path, px", "mean speed"];

function shownCount() {
  return state.sequence.frames.length;
}

function timeAt(position) {
  return valueOf(frames.time, state.sequence.frames[position]);
}

function positionOf(index) {
  return index - start[sequences.indexOf(state.sequence)];
}

// Show the frame at a position in the sequence.
function goTo(position) {
  const count = shownCount();
  state.position = clamp(position, 0, count - 1);
  const index = state.sequence.frames[state.position], name = data.frameNames[index];
  byId("position").value = state.position;
  byId("position").setAttribute("aria-valuetext", `${name}, ${state.position + 1} of ${count}`);
  byId("number").textContent = `${format(state.position + 1)} of ${format(count)}`;
  const parts = [element("b", name)];
  if (Number.isFinite(timeAt(state.position))) parts.push(element("span", clock(timeAt(state.position), 0.01)));
  parts.push(element("span", counted(frames.boxes[index], "object")));
  if (data.images[index]) parts.push(linkTo(data.images[index], "full picture"));
  byId("caption").replaceChildren(...parts);
  drawCursor();
  return showFrame(index);
}

function selectSequence(index) {
  play(false);
  state.sequence = sequences[index];
  state.selected = -1;
  byId("position").max = shownCount() - 1;
  listEvents();
  listTracks();
  redraw(0);
}

function redraw(position = state.position) {
  state.position = position;
  drawTimeline();
  return goTo(position);
}

// Show one track alone and go to its first frame, or all again.
function select(track) {
  state.selected = track === state.selected ? -1 : track;
  for (const line of byId("rows").children) {
    line.classList.toggle("highlighted", +line.dataset.index === state.selected);
  }
  redraw(state.selected < 0 ? state.position : positionOf(tracks.first[track]));
}

function listEvents() {
  byId("eventCount").textContent = state.sequence.events.length ? "" : "none";
  byId("events").replaceChildren(...state.sequence.events.slice(0, MAX_LISTED).map((event) => {
    const [first, last] = [events.first[event], events.last[event]];
    const cells = [format(events.number[event]), momentOf(first), momentOf(last), format(events.tracks[event])];
    return lineOf(cells, event, () => goTo(positionOf(first)));
  }));
}

function listTracks() {
  const shown = state.sequence.tracks.slice(0, MAX_LISTED), hidden = state.sequence.tracks.length - shown.length;
  byId("shown").textContent = format(state.sequence.tracks.length);
  byId("tableNotes").textContent = hidden ? `tracks.csv lists ${format(hidden)} more.` : "";
  byId("rows").replaceChildren(...shown.map((track) => {
    const unit = Number.isFinite(timeAt(0)) ? " px/s" : " px/frame";
    const cells = ["", momentOf(tracks.first[track]), momentOf(tracks.last[track]), format(tracks.frames[track]),
      decimal(valueOf(tracks.path, track), 1), decimal(valueOf(tracks.speed, track), 1) + unit];
    const line = lineOf(cells, track, () => select(track)), mark = element("span", "", "mark");
    mark.style.borderColor = mark.style.background = colorOf(track);
    line.firstChild.append(mark, format(tracks.number[track]));
    return line;
  }));
}

// Return a row of a table that reacts to a click and to the enter key.
function lineOf(cells, index, act) {
  const line = element("tr");
  line.append(...cells.map((text) => element("td", text)));
  line.dataset.index = index;
  line.tabIndex = 0;
  line.addEventListener("click", act);
  line.addEventListener("keydown", (event) => {
    if (event.key === "Enter") act();
  });
  return line;
}

function tooltipText(track) {
  const times = `${momentOf(tracks.first[track])} to ${momentOf(tracks.last[track])}`;
  return `track ${tracks.number[track]}\n${times}, ${format(tracks.frames[track])} frames`;
}

function addListeners() {
  byId("sequence").addEventListener("change", (event) => selectSequence(event.target.selectedIndex));
  for (const name of ["boxes", "numbers", "paths", "whole"]) byId(name).addEventListener("change", drawFrame);
  const {canvas} = frame, strip = timeline.canvas;
  canvas.addEventListener("pointermove", (event) => {
    const box = boxAt(event.offsetX, event.offsetY);
    showTooltip(box < 0 ? "" : tooltipText(boxes.track[box]), event.clientX, event.clientY);
  });
  canvas.addEventListener("click", (event) => {
    const box = boxAt(event.offsetX, event.offsetY);
    if (box < 0 && state.selected < 0) return;
    state.selected = box < 0 || state.selected >= 0 ? -1 : boxes.track[box];
    redraw();
  });
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    goTo(positionAt(event.clientX));
  });
  strip.addEventListener("pointermove", (event) => {
    const position = positionAt(event.clientX), track = trackAt(event.offsetX, event.offsetY);
    if (event.buttons) goTo(position);
    const index = state.sequence.frames[position];
    const text = track < 0 ? `${momentOf(index)}\n${counted(frames.boxes[index], "object")}` : tooltipText(track);
    showTooltip(text, event.clientX, event.clientY);
  });
  for (const node of [canvas, strip]) node.addEventListener("pointerleave", () => showTooltip(""));
  addTransportListeners({b: "boxes", n: "numbers", p: "paths", w: "whole"});
  window.addEventListener("resize", () => redraw());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
}

const {summary} = data;
showCounts([["frames", summary.pairs ?? frameCount], ["tracks", data.trackCount], ["events", data.eventCount],
  ["boxes", summary.rows], ["s", summary.seconds]]);
showSettings(summary);
byId("columns").append(...COLUMNS.map((name) => element("th", name)));
if (frameCount) {
  showNames(sequences.map(({name}) => name));
  addListeners();
  selectSequence(0);
}
