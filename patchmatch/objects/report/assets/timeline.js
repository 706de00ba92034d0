// Events as a strip, and under it a bar for each track from its first to its last frame.

const LABEL = 16, EVENT = 12, BAR = 7, LANE = 10, MAX_LANES = 30; // heights in pixels, and a count

// Put each track into the first lane that is free, so that few lanes hold many tracks.
function packLanes() {
  const ends = [], lanes = [];
  for (const track of state.sequence.tracks) {
    let lane = ends.findIndex((end) => end < tracks.first[track]);
    if (lane < 0) lane = ends.length;
    ends[lane] = tracks.last[track];
    lanes.push([track, lane]);
  }
  return {lanes, count: ends.length};
}

function spanOf(first, last) {
  const offset = start[sequences.indexOf(state.sequence)], column = timeline.width / shownCount();
  return [(first - offset) * column, Math.max(2, (last - first + 1) * column)];
}

// Draw the part that does not depend on the position.
function drawTimeline() {
  const width = timeline.width = timeline.canvas.clientWidth;
  const {lanes, count} = packLanes();
  timeline.lanes = lanes;
  timeline.step = count > MAX_LANES ? (MAX_LANES * LANE) / count : LANE;
  const {sequence} = state;
  const tracksTop = LABEL + (sequence.events.length ? EVENT + GAP : 0) + LABEL;
  timeline.tracksTop = tracksTop;
  timeline.bottom = tracksTop + Math.ceil(count * timeline.step) + GAP;
  timeline.canvas.style.height = timeline.bottom + AXIS + "px";
  const context = prepareCanvas(timeline.background, width, timeline.bottom + AXIS);
  context.font = font(11);
  context.textBaseline = "top";
  timeline.labels = [
    [counted(sequence.events.length, "event"), 2],
    [counted(sequence.tracks.length, "track"), tracksTop - LABEL + 2],
  ];
  context.fillStyle = cssColor("accent");
  for (const event of sequence.events) {
    const [x, length] = spanOf(events.first[event], events.last[event]);
    context.fillRect(x, LABEL, length, EVENT);
  }
  for (const [track, lane] of lanes) {
    const [x, length] = spanOf(tracks.first[track], tracks.last[track]);
    context.globalAlpha = isShown(track) ? 1 : 0.25;
    context.fillStyle = colorOf(track);
    context.fillRect(x, tracksTop + lane * timeline.step, length, Math.max(1, timeline.step * BAR / LANE));
  }
  context.globalAlpha = 1;
  drawAxis(context, width);
  drawCursor();
}

// Return the track under a point of the timeline, -1 if none.
function trackAt(x, y) {
  const lane = Math.floor((y - timeline.tracksTop) / timeline.step);
  for (const [track, own] of timeline.lanes) {
    const [left, length] = spanOf(tracks.first[track], tracks.last[track]);
    if (own === lane && x >= left && x < left + length) return track;
  }
  return -1;
}
