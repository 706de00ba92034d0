// The frame with boxes, numbers and paths of its objects.

const HALO = "rgba(0, 0, 0, 0.55)"; // contrast to frames of the same color
const PATH_FRAMES = 50; // of the path behind an object, as in the pictures of the run

const frame = {canvas: byId("frame"), image: null, index: 0, scale: 1, request: 0};

// Load the thumbnail of a frame and draw it, unless a newer frame was requested meanwhile.
async function showFrame(index) {
  const request = ++frame.request;
  const image = await loadThumbnail(index);
  if (request !== frame.request) return;
  frame.image = image;
  frame.index = index;
  byId("missing").hidden = image !== null;
  drawFrame();
}

function shownBoxes(index) {
  const shown = [];
  for (let box = firstBox[index]; box < firstBox[index + 1]; box++) {
    if (state.selected < 0 || boxes.track[box] === state.selected) shown.push(box);
  }
  return shown;
}

function drawFrame() {
  const {canvas, image, index} = frame;
  const width = frames.width[index] || 1, height = frames.height[index] || 1;
  const maxHeight = clamp(window.innerHeight - 330, 240, 1000); // leaves room for the timeline
  frame.scale = Math.min(byId("stage").clientWidth / width, maxHeight / height);
  const shownWidth = width * frame.scale, shownHeight = height * frame.scale;
  canvas.style.width = shownWidth + "px";
  canvas.style.height = shownHeight + "px";
  const context = prepareCanvas(canvas, shownWidth, shownHeight);
  context.imageSmoothingQuality = "high";
  context.lineCap = context.lineJoin = "round";
  if (image) context.drawImage(image, 0, 0, shownWidth, shownHeight);
  const shown = shownBoxes(index);
  if (byId("whole").checked) state.sequence.tracks.filter(isShown).forEach((t) => drawPath(context, t, true));
  else if (byId("paths").checked) shown.forEach((box) => drawPath(context, boxes.track[box], false));
  for (const box of shown) {
    if (byId("boxes").checked) drawBox(context, box);
    if (byId("numbers").checked) drawNumber(context, box);
  }
  canvas.setAttribute("aria-label", `Frame ${data.frameNames[index]} with ${counted(shown.length, "object")}`);
}

function isShown(track) {
  return state.selected < 0 || track === state.selected;
}

function strokeTwice(context, color, width, draw) {
  for (const [style, extra] of [[HALO, 2], [color, 0]]) {
    context.strokeStyle = style;
    context.lineWidth = width + extra;
    draw();
  }
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
