// The frame with boxes, numbers and paths of its objects.

const PATH_FRAMES = 50; // of the path behind an object, as in the pictures of the run

function showFrame(index) {
  return showThumbnail(index, {index});
}

function shownBoxes(index) {
  const shown = [];
  for (let box = firstBox[index]; box < firstBox[index + 1]; box++) {
    if (state.selected < 0 || boxes.track[box] === state.selected) shown.push(box);
  }
  return shown;
}

function drawFrame() {
  const {index} = frame, context = prepareFrame(frames.width[index], frames.height[index]);
  const shown = shownBoxes(index);
  if (byId("whole").checked) state.sequence.tracks.filter(isShown).forEach((t) => drawPath(context, t, true));
  else if (byId("paths").checked) shown.forEach((box) => drawPath(context, boxes.track[box], false));
  for (const box of shown) {
    if (byId("boxes").checked) drawBox(context, box);
    if (byId("numbers").checked) drawNumber(context, box);
  }
  frame.canvas.setAttribute("aria-label", `Frame ${data.frameNames[index]} with ${counted(shown.length, "object")}`);
}

function isShown(track) {
  return state.selected < 0 || track === state.selected;
}

function drawBox(context, box) {
  const s = frame.scale, x = boxes.x0[box] * s, y = boxes.y0[box] * s;
  const width = (boxes.x1[box] - boxes.x0[box]) * s, height = (boxes.y1[box] - boxes.y0[box]) * s;
  strokeTwice(context, colorOf(boxes.track[box]), 2, () => context.strokeRect(x, y, width, height));
}

function isDark(color) {
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  return 0.3 * red + 0.6 * green + 0.1 * blue < 128;
}

function drawNumber(context, box) {
  const text = String(tracks.number[boxes.track[box]]), s = frame.scale;
  context.font = font(12);
  context.textBaseline = "alphabetic";
  const width = context.measureText(text).width + 8;
  const x = clamp(boxes.x0[box] * s, 0, frame.canvas.clientWidth - width);
  const y = Math.max(15, boxes.y0[box] * s - 2);
  const color = colorOf(boxes.track[box]);
  context.fillStyle = color;
  context.fillRect(x, y - 14, width, 15);
  context.fillStyle = isDark(color) ? "#fff" : "#000";
  context.fillText(text, x + 4, y - 2);
}

// Draw the path of a track up to this frame, or the whole of it.
function drawPath(context, track, isWhole) {
  const s = frame.scale, {index} = frame;
  const passed = boxesOfTrack[track].filter((box) => {
    return isWhole || (frameOfBox[box] <= index && frameOfBox[box] > index - PATH_FRAMES);
  });
  if (!passed.length) return;
  context.beginPath();
  let previous = -1;
  for (const box of passed) {
    const [x, y] = footOf(box), isGap = previous >= 0 && frameOfBox[box] > frameOfBox[previous] + 25;
    if (previous < 0 || isGap) context.moveTo(x * s, y * s);
    else context.lineTo(x * s, y * s);
    previous = box;
  }
  strokeTwice(context, colorOf(track), 1.5, () => context.stroke());
}

// Return the smallest shown box that contains a point of the canvas, -1 if none.
function boxAt(x, y) {
  const s = frame.scale;
  let best = -1, minArea = Infinity;
  for (const box of shownBoxes(frame.index)) {
    const area = (boxes.x1[box] - boxes.x0[box]) * (boxes.y1[box] - boxes.y0[box]);
    const isInside = x >= boxes.x0[box] * s && x < boxes.x1[box] * s
      && y >= boxes.y0[box] * s && y < boxes.y1[box] * s;
    if (isInside && area < minArea) {
      best = box;
      minArea = area;
    }
  }
  return best;
}
