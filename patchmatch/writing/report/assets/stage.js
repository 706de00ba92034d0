// The stage with the current frame. A page defines drawFrame.

const HALO = "rgba(0, 0, 0, 0.5)"; // contrast to frames of the same color

const frame = {canvas: byId("frame"), image: null, scale: 1, request: 0};

// Load a thumbnail, add what a page keeps of its frame, and draw it, unless a newer one was requested meanwhile.
async function showThumbnail(thumbnail, shown) {
  const request = ++frame.request;
  const image = await loadThumbnail(thumbnail);
  if (request !== frame.request) return;
  Object.assign(frame, shown, {image});
  byId("missing").hidden = image !== null;
  drawFrame();
}

// Fit the canvas to the stage for a frame of this size, draw the thumbnail, and return the context.
function prepareFrame(width, height) {
  const {canvas, image} = frame;
  const maxHeight = clamp(window.innerHeight - 350, 240, 1000); // leaves room for the timeline
  frame.scale = Math.min(byId("stage").clientWidth / (width || 1), maxHeight / (height || 1));
  const shownWidth = (width || 1) * frame.scale, shownHeight = (height || 1) * frame.scale;
  canvas.style.width = shownWidth + "px";
  canvas.style.height = shownHeight + "px";
  const context = prepareCanvas(canvas, shownWidth, shownHeight);
  context.imageSmoothingQuality = "high";
  if (image) context.drawImage(image, 0, 0, shownWidth, shownHeight);
  return context;
}

// Stroke what ``draw`` strokes on a wider halo.
function strokeTwice(context, color, width, draw) {
  context.lineCap = context.lineJoin = "round";
  for (const [style, extra] of [[HALO, 2], [color, 0]]) {
    context.strokeStyle = style;
    context.lineWidth = width + extra;
    draw();
  }
}
