// Data of the run: frames, the boxes of each, tracks and events.

const frames = decodeAll(data.frames);
const boxes = decodeAll(data.boxes); // in the order of the frames
const tracks = decodeAll(data.tracks);
const events = decodeAll(data.events);

const frameCount = data.frameNames.length;
const firstBox = new Int32Array(frameCount + 1);
for (let i = 0; i < frameCount; i++) firstBox[i + 1] = firstBox[i] + frames.boxes[i];

// Each sequence has its frames, its tracks and its events, by their indices.
const sequences = data.sources.map((name) => ({name, frames: [], tracks: [], events: []}));
const start = sequences.map(() => 0); // the first frame of each
for (let i = frameCount - 1; i >= 0; i--) start[frames.source[i]] = i;
for (let i = 0; i < frameCount; i++) sequences[frames.source[i]].frames.push(i);
for (let i = 0; i < data.trackCount; i++) sequences[tracks.source[i]].tracks.push(i);
for (let i = 0; i < data.eventCount; i++) sequences[events.source[i]].events.push(i);

// The boxes of each track.
const boxesOfTrack = Array.from({length: data.trackCount}, () => []);
const frameOfBox = new Int32Array(firstBox[frameCount]);
for (let i = 0; i < frameCount; i++) {
  for (let box = firstBox[i]; box < firstBox[i + 1]; box++) {
    frameOfBox[box] = i;
    boxesOfTrack[boxes.track[box]].push(box);
  }
}

function colorOf(track) {
  return data.colors[(tracks.number[track] - 1) % data.colors.length];
}

// Where an object touches the ground, in pixels of the frame.
function footOf(box) {
  return [(boxes.x0[box] + boxes.x1[box]) / 2, boxes.y1[box] - 1];
}

// The time of a frame, or its name where times are unknown.
function momentOf(index) {
  const time = valueOf(frames.time, index);
  return Number.isFinite(time) ? clock(time, 0.1) : data.frameNames[index];
}

function counted(count, noun) {
  return count ? `${format(count)} ${noun}${count === 1 ? "" : "s"}` : `no ${noun}s`;
}
