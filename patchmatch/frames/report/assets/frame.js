// The frame with its boxes and displacements.

const WIDTHS = [1, 1.5, 2.5, 2]; // by layer, in pixels of the screen
const DASHES = [[], [7, 4], [], [2.5, 2]]; // kinds differ by their lines, not by color alone
const HALO = "rgba(0, 0, 0, 0.45)"; // keeps lines apart from pictures of their color
const SHORTEST = 12; // pixels of the screen that an arrow must be long to show its direction

const frame = {canvas: byId("frame"), image: null, pair: 0, scale: 1, turn: 0};

// Make a canvas as large as it is shown, on any screen, and clear it.
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// Load the picture of a pair, and draw it with its boxes unless another one was asked for since.
async function showFrame(pair) {
  const turn = ++frame.turn;
  const earlier = state.earlier ? earlierShot(pair) : undefined;
  const shot = earlier === undefined ? pairs.shot[pair] : earlier;
  const image = await pictureOf(shot);
  if (turn !== frame.turn) return;
  frame.image = image;
  frame.pair = pair;
  byId("missing").hidden = image !== null;
  drawFrame();
}

function drawFrame() {
  const {canvas, image, pair} = frame;
  const width = pairs.width[pair] || 1, height = pairs.height[pair] || 1;
  const room = byId("stage").clientWidth;
  const tallest = clamp(window.innerHeight - 350, 240, 1000); // with the timeline below it
  frame.scale = Math.min(room / width, tallest / height);
  const shownWidth = width * frame.scale, shownHeight = height * frame.scale;
  canvas.style.width = shownWidth + "px";
  canvas.style.height = shownHeight + "px";
  const context = prepare(canvas, shownWidth, shownHeight);
  context.imageSmoothingQuality = "high";
  if (image) context.drawImage(image, 0, 0, shownWidth, shownHeight);
  const visible = visibleRows(pair);
  for (const row of visible.reverse()) drawBox(context, row); // the first lies on top
  if (state.arrows) for (const row of visible) drawDisplacement(context, row);
  canvas.setAttribute("aria-label",
    `Frame ${data.names[pairs.frame1[pair]]} with ${visible.length} boxes`);
}

function boxOf(row) {
  const s = frame.scale;
  return [rows.x0[row] * s, rows.y0[row] * s, (rows.x1[row] - rows.x0[row]) * s,
    (rows.y1[row] - rows.y0[row]) * s];
}

function stroke(context, layer, path) {
  context.lineCap = "butt";
  context.setLineDash([]);
  context.strokeStyle = HALO;
  context.lineWidth = WIDTHS[layer] + 1.5;
  context.stroke(path);
  context.setLineDash(DASHES[layer]);
  context.strokeStyle = PEN[layer];
  context.lineWidth = WIDTHS[layer];
  context.stroke(path);
}

function drawBox(context, row) {
  const [x, y, width, height] = boxOf(row);
  const layer = rows.layer[row], inset = WIDTHS[layer] / 2;
  const path = new Path2D();
  path.rect(x + inset, y + inset, Math.max(1, width - 2 * inset), Math.max(1, height - 2 * inset));
  if (row === state.lit) {
    context.fillStyle = "rgba(255, 255, 255, 0.35)";
    context.fill(path);
  }
  stroke(context, layer, path);
}

// An arrow from the centre of the box; a cross where nothing was found.
function drawDisplacement(context, row) {
  const [left, top, width, height] = boxOf(row);
  const x = left + width / 2, y = top + height / 2;
  const dx = valueOf(rows.dx, row) * frame.scale, dy = valueOf(rows.dy, row) * frame.scale;
  const length = Math.hypot(dx, dy);
  const path = new Path2D();
  if (Number.isNaN(length)) {
    const arm = Math.min(3.5, width / 4, height / 4);
    path.moveTo(x - arm, y - arm);
    path.lineTo(x + arm, y + arm);
    path.moveTo(x - arm, y + arm);
    path.lineTo(x + arm, y - arm);
  } else if (length === 0) {
    path.arc(x, y, 1, 0, 7);
  } else {
    const stretch = Math.max(1, SHORTEST / length);
    const angle = Math.atan2(dy, dx), wing = Math.min(7, Math.max(4, 0.4 * length));
    const tipX = x + dx * stretch, tipY = y + dy * stretch;
    path.moveTo(x, y);
    path.lineTo(tipX, tipY);
    path.moveTo(tipX - wing * Math.cos(angle - 0.5), tipY - wing * Math.sin(angle - 0.5));
    path.lineTo(tipX, tipY);
    path.lineTo(tipX - wing * Math.cos(angle + 0.5), tipY - wing * Math.sin(angle + 0.5));
  }
  context.setLineDash([]);
  context.lineCap = context.lineJoin = "round";
  for (const [color, more] of [[HALO, 2], [PEN[rows.layer[row]], 0]]) {
    context.strokeStyle = color;
    context.lineWidth = 1.5 + more;
    context.stroke(path);
  }
}

// The visible row whose box lies under a place of the canvas, the smallest one of several.
function rowAt(x, y) {
  let best = -1, least = Infinity;
  for (const row of visibleRows(frame.pair)) {
    const [left, top, width, height] = boxOf(row);
    if (x >= left && y >= top && x < left + width && y < top + height && width * height < least) {
      best = row;
      least = width * height;
    }
  }
  return best;
}
