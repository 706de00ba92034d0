// The frame with its boxes and displacements.

const COLORS = ["#c9ccd1", "#3fe06f", "#ff4238"]; // of boxes on frames, by layer
const WIDTHS = [1, 1.5, 2.5]; // by layer, in CSS pixels
const DASHES = [[], [7, 4], []]; // layers differ by line style, not by color alone
const UNMATCHED_DASH = [2.5, 2];
const MIN_ARROW = 12; // CSS pixels, so that the direction of short arrows is visible

// Show the later frame of a pair, or the earlier one if it is chosen and has a thumbnail.
function showFrame(pair) {
  const earlier = state.earlier ? earlierThumbnail(pair) : undefined, isEarlier = earlier !== undefined;
  return showThumbnail(isEarlier ? earlier : pairs.thumbnail[pair], {pair, isEarlier});
}

function drawFrame() {
  const {pair} = frame, context = prepareFrame(pairs.width[pair], pairs.height[pair]);
  const visible = visibleRows(pair);
  for (const row of visible.reverse()) drawBox(context, row); // the first box is on top
  if (state.arrows) for (const row of visible) drawDisplacement(context, row);
  frame.canvas.setAttribute("aria-label",
    `Frame ${data.names[pairs.frame1[pair]]} with ${visible.length} boxes`);
}

// Motion of the camera, 0 where unknown.
function cameraOf(row) {
  return [rows.camera_dx, rows.camera_dy].map((column) => valueOf(column, row) || 0);
}

// Left, top, width and height on the canvas. In the later frame, a block that moved by more than
// a pixel is where its content is, as in the images of the run.
function boxOf(row) {
  const s = frame.scale, [cameraX, cameraY] = cameraOf(row);
  let dx = valueOf(rows.dx, row) + cameraX, dy = valueOf(rows.dy, row) + cameraY;
  if (frame.isEarlier || !(Math.hypot(dx, dy) >= 1.5)) dx = dy = 0;
  return [(rows.x0[row] + Math.round(dx)) * s, (rows.y0[row] + Math.round(dy)) * s,
    (rows.x1[row] - rows.x0[row]) * s, (rows.y1[row] - rows.y0[row]) * s];
}

function stroke(context, row, path) {
  const layer = rows.layer[row];
  context.lineCap = "butt";
  context.setLineDash([]);
  context.strokeStyle = HALO;
  context.lineWidth = WIDTHS[layer] + 1.5;
  context.stroke(path);
  context.setLineDash(rows.matched[row] ? DASHES[layer] : UNMATCHED_DASH);
  context.strokeStyle = COLORS[layer];
  context.lineWidth = WIDTHS[layer];
  context.stroke(path);
}

function drawBox(context, row) {
  const [x, y, width, height] = boxOf(row);
  const inset = WIDTHS[rows.layer[row]] / 2;
  const path = new Path2D();
  path.rect(x + inset, y + inset, Math.max(1, width - 2 * inset), Math.max(1, height - 2 * inset));
  if (row === state.highlighted) {
    context.fillStyle = "rgba(255, 255, 255, 0.35)";
    context.fill(path);
  }
  stroke(context, row, path);
}

// Draw an arrow from where the box would be without its own motion, or a cross if it is unmatched.
function drawDisplacement(context, row) {
  const s = frame.scale, width = (rows.x1[row] - rows.x0[row]) * s;
  const height = (rows.y1[row] - rows.y0[row]) * s;
  const [cameraX, cameraY] = frame.isEarlier ? [0, 0] : cameraOf(row);
  const x = (rows.x0[row] + cameraX) * s + width / 2, y = (rows.y0[row] + cameraY) * s + height / 2;
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
    const stretch = Math.max(1, MIN_ARROW / length);
    const angle = Math.atan2(dy, dx), head = Math.min(7, Math.max(4, 0.4 * length));
    const tipX = x + dx * stretch, tipY = y + dy * stretch;
    path.moveTo(x, y);
    path.lineTo(tipX, tipY);
    path.moveTo(tipX - head * Math.cos(angle - 0.5), tipY - head * Math.sin(angle - 0.5));
    path.lineTo(tipX, tipY);
    path.lineTo(tipX - head * Math.cos(angle + 0.5), tipY - head * Math.sin(angle + 0.5));
  }
  context.setLineDash([]);
  strokeTwice(context, COLORS[rows.layer[row]], 1.5, () => context.stroke(path));
}

// Return the visible row with the smallest box that contains a point of the canvas, -1 if none.
function rowAt(x, y) {
  let best = -1, minArea = Infinity;
  for (const row of visibleRows(frame.pair)) {
    const [left, top, width, height] = boxOf(row);
    if (x >= left && y >= top && x < left + width && y < top + height && width * height < minArea) {
      best = row;
      minArea = width * height;
    }
  }
  return best;
}
