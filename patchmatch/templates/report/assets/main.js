// The scenes with boxes drawn, and a strip of the best scores over the scenes for each template.

const {time} = decodeAll({time: data.time}), count = data.names.length;
const best = data.templates.map(() => new Float32Array(count).fill(NaN)); // by template and scene
const isFound = data.templates.map(() => new Uint8Array(count));
for (const [columns, found] of [[decodeAll(data.missed), 0], [decodeAll(data.found), 1]]) {
  for (let row = 0; row < (columns.scene || []).length; row++) {
    const template = columns.template[row], scene = columns.scene[row], score = valueOf(columns.score, row);
    if (!(best[template][scene] >= score)) best[template][scene] = score;
    isFound[template][scene] ||= found;
  }
}
const state = {position: 0, timer: 0, request: 0};
const STRIPS = 600, HIGHEST = 30, LOWEST = 6; // pixels: of all strips, of one

function shownCount() {
  return count;
}

function timeAt(position) {
  return valueOf(time, position);
}

function goTo(position) {
  const index = state.position = clamp(position, 0, count - 1);
  byId("position").value = index;
  byId("position").setAttribute("aria-valuetext", `${data.names[index]}, ${index + 1} of ${count}`);
  byId("number").textContent = `${format(index + 1)} of ${format(count)}`;
  const parts = [element("b", data.names[index])];
  if (Number.isFinite(timeAt(index))) parts.push(element("span", clock(timeAt(index), 0.01)));
  parts.push(element("span", foundIn(index).join(", ") || "nothing found"));
  const link = element("a", "full picture");
  link.href = "./" + data.pictures[index].split("/").map(encodeURIComponent).join("/");
  byId("caption").replaceChildren(...parts, link);
  drawCursor();
  return showScene(index);
}

function foundIn(index) {
  const found = data.templates.map((name, i) => [name, i]).filter(([, i]) => isFound[i][index]);
  return found.map(([name, i]) => `${name} ${decimal(best[i][index], 2)}`);
}

async function showScene(index) {
  const request = ++state.request, image = await loadThumbnail(index), canvas = byId("frame");
  if (request !== state.request) return;
  byId("missing").hidden = image !== null;
  if (!image) return prepareCanvas(canvas, canvas.clientWidth, canvas.clientHeight);
  const maxHeight = clamp(window.innerHeight - 330, 240, 1000); // leaves room for the timeline
  const scale = Math.min(byId("stage").clientWidth / image.width, maxHeight / image.height);
  const width = image.width * scale, height = image.height * scale;
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  const context = prepareCanvas(canvas, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  canvas.setAttribute("aria-label", "Scene " + data.names[index]);
}

// Draw the part that does not depend on the position.
function drawTimeline() {
  const width = timeline.width = timeline.canvas.clientWidth, column = width / count;
  const height = clamp(STRIPS / data.templates.length, LOWEST, HIGHEST);
  timeline.bottom = height * data.templates.length + GAP;
  timeline.canvas.style.height = timeline.bottom + AXIS + "px";
  const context = prepareCanvas(timeline.background, width, timeline.bottom + AXIS);
  context.font = font(11);
  context.textBaseline = "top";
  timeline.labels = height < 15 ? [] : data.templates.map((name, i) => [name, i * height + 2]);
  data.templates.forEach((_, i) => {
    const bottom = (i + 1) * height - 1;
    context.fillStyle = cssColor("rule");
    context.fillRect(0, bottom, width, 1);
    context.fillStyle = data.colors[i];
    for (let scene = 0; scene < count; scene++) {
      const bar = (height - 2) * (best[i][scene] || 0);
      context.globalAlpha = isFound[i][scene] ? 1 : 0.3;
      context.fillRect(scene * column, bottom - bar, Math.max(1, column), bar);
    }
    context.globalAlpha = 1;
  });
  drawAxis(context, width);
  drawCursor();
}

function listTemplates() {
  byId("rows").append(...data.templates.map((name, i) => {
    const line = element("tr"), mark = element("span", "", "mark"), scores = Array.from(best[i], (s) => s || 0);
    const top = scores.indexOf(Math.max(...scores)), scenes = isFound[i].reduce((sum, found) => sum + found, 0);
    mark.style.borderColor = mark.style.background = data.colors[i];
    line.append(element("td"), element("td", `${format(scenes)} of ${format(count)}`), element("td", decimal(scores[top], 2)));
    line.firstChild.append(mark, name);
    line.tabIndex = 0;
    line.addEventListener("click", () => goTo(top));
    line.addEventListener("keydown", (event) => event.key === "Enter" && goTo(top));
    return line;
  }));
}

function addListeners() {
  const strip = timeline.canvas;
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    goTo(positionAt(event.clientX));
  });
  strip.addEventListener("pointermove", (event) => {
    const position = positionAt(event.clientX);
    if (event.buttons) goTo(position);
    showTooltip([data.names[position], ...foundIn(position)].join("\n"), event.clientX, event.clientY);
  });
  strip.addEventListener("pointerleave", () => showTooltip(""));
  addTransportListeners({});
  const redraw = () => { drawTimeline(); goTo(state.position); };
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

for (const [name, value] of [["scenes", count], ["templates", data.templates.length], ["boxes", data.summary.rows]]) {
  const item = element("div");
  item.append(element("dt", name), element("dd", format(value)));
  byId("counts").append(item);
}
showSettings(data.summary);
if (count) {
  byId("position").max = count - 1;
  listTemplates();
  addListeners();
  drawTimeline();
  goTo(0);
}
