// Words and numbers: the table of a pair, the tip under the pointer, the settings of the run.

const MOST_LISTED = 200; // rows of the table: more of them would make every step slow
const COLUMNS = [ // name, text of a row
  ["row", null],
  ["kind", null],
  ["x0", (row) => rows.x0[row]],
  ["y0", (row) => rows.y0[row]],
  ["x1", (row) => rows.x1[row]],
  ["y1", (row) => rows.y1[row]],
  ["dx", (row) => decimal(valueOf(rows.dx, row), 2)],
  ["dy", (row) => decimal(valueOf(rows.dy, row), 2)],
  ["score", (row) => decimal(scoreOf(rows.score, row), 4)],
  ["confidence", (row) => decimal(scoreOf(rows.confidence, row), 4)],
  ["camera dx", (row) => decimal(valueOf(rows.camera_dx, row), 2)],
  ["camera dy", (row) => decimal(valueOf(rows.camera_dy, row), 2)],
  ["area", (row) => format(rows.area[row])],
].filter(([name]) => (name !== "area" || rows.area) && (!name.startsWith("camera") || rows.camera_dx));

// Every text of the run goes through here, or through textContent: nothing is read as HTML.
function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function decimal(value, places) {
  return Number.isFinite(value) ? value.toFixed(places).replace("-", "−") : "–";
}

function listRows(pair) {
  const visible = visibleRows(pair), kept = first[pair + 1] - first[pair];
  const body = byId("rows");
  body.replaceChildren(...visible.slice(0, MOST_LISTED).map((row) => tableRow(row, pair)));
  const left = kept - visible.length;
  byId("shown").textContent = left ? `${format(visible.length)} of ${format(kept)}` : format(kept);
  const more = [];
  if (visible.length > MOST_LISTED) more.push(`${format(visible.length - MOST_LISTED)} more are drawn.`);
  if (pairs.boxes[pair] > kept) {
    const all = format(pairs.boxes[pair]);
    more.push(`Of ${all} boxes this page holds the first ${format(kept)}; all stand in changes.csv.`);
  }
  byId("rest").textContent = more.join(" ");
}

function tableRow(row, pair) {
  const line = element("tr"), number = record[pair] + row - first[pair], layer = LAYERS[rows.layer[row]];
  line.dataset.row = row;
  for (const [name, text] of COLUMNS) {
    const cell = element("td", text ? text(row) : "");
    if (name === "row") {
      const link = element("a", number);
      link.href = `changes.csv#row=${number}`; // as RFC 7111 names the rows of a csv file
      link.title = `Row ${number} of changes.csv, the header being row 1`;
      cell.append(link);
    } else if (name === "kind") {
      cell.append(element("span", "", "mark " + layer), layer.replace("_", " "));
    }
    line.append(cell);
  }
  return line;
}

function describe(row, pair) {
  const motion = Number.isFinite(valueOf(rows.dx, row))
    ? `displacement (${decimal(rows.dx[row], 2)}, ${decimal(rows.dy[row], 2)}) px`
    : "displacement not known";
  const lines = [
    `${LAYERS[rows.layer[row]].replace("_", " ")}, score ${decimal(scoreOf(rows.score, row), 4)}`,
    motion,
    `confidence ${decimal(scoreOf(rows.confidence, row), 4)}`,
    `x ${rows.x0[row]} to ${rows.x1[row]}, y ${rows.y0[row]} to ${rows.y1[row]}`,
    `row ${record[pair] + row - first[pair]} of changes.csv`,
  ];
  return lines.join("\n");
}

function showTip(text, x, y) {
  const tip = byId("tip");
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(window.innerWidth - box.width - 4, x + 14)) + "px";
  const below = y + 18 + box.height < window.innerHeight;
  tip.style.top = Math.max(4, below ? y + 18 : y - box.height - 10) + "px";
}

function showRun() {
  const summary = data.summary, counts = byId("counts");
  const plain = [["pairs", summary.pairs ?? pairCount], ["boxes", summary.rows]];
  for (const [kind, count] of countKinds(summary)) plain.push([kind.replace("_", " "), count]);
  if (summary.seconds !== undefined) plain.push(["s", summary.seconds]);
  for (const [name, count] of plain) {
    if (count === undefined) continue;
    const item = element("div");
    item.append(element("dt", name), element("dd", typeof count === "number" ? format(count) : count));
    counts.append(item);
  }
  const notes = [];
  if (summary.complete === false) {
    notes.push("The run was stopped before its end; what was done until then is here.");
  }
  for (const skipped of summary.skipped || []) notes.push("Skipped: " + skipped);
  if (data.note) notes.push("To keep this page small, " + data.note + ".");
  byId("notes").append(...notes.map((note) => element("li", note)));
  const settings = summary.settings || {};
  const groups = Object.entries(settings).filter(([, value]) => isGroup(value));
  const single = Object.entries(settings).filter(([, value]) => !isGroup(value));
  if (single.length) byId("settings").append(definitions(single));
  for (const [name, group] of groups) {
    const details = element("details");
    details.open = window.innerWidth > 860;
    details.append(element("summary", name), definitions(Object.entries(group)));
    byId("settings").append(details);
  }
}

// The boxes of each layer; where not all are kept here, what the summary says of them.
function countKinds(summary) {
  if (first[pairCount] !== pairs.boxes.reduce((sum, count) => sum + count, 0)) {
    return Object.entries(summary.kinds || {});
  }
  const counts = LAYERS.map(() => 0);
  for (const layer of rows.layer) counts[layer]++;
  return LAYERS.map((name, layer) => [name, counts[layer]]).filter(([, count]) => count);
}

function isGroup(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function definitions(entries) {
  const list = element("dl");
  for (const [name, value] of entries) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    list.append(element("dt", name), element("dd", value === null ? "–" : text));
  }
  return list;
}
