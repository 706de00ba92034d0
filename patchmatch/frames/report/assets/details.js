// Texts: the table of a pair, the tooltip, and the settings of the run.

const MAX_LISTED = 200; // rows of the table; more would slow down stepping through the pairs
const COLUMNS = [ // name, function that returns the text of a row
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
  ["matched", (row) => (rows.matched[row] ? "yes" : "no")],
  ["camera dx", (row) => decimal(valueOf(rows.camera_dx, row), 2)],
  ["camera dy", (row) => decimal(valueOf(rows.camera_dy, row), 2)],
].filter(([name]) => !name.startsWith("camera") || rows.camera_dx);

function csvRow(row, pair) {
  return firstCsvRow[pair] + row - firstRow[pair];
}

function updateTable(pair) {
  const visible = visibleRows(pair), stored = firstRow[pair + 1] - firstRow[pair];
  byId("rows").replaceChildren(...visible.slice(0, MAX_LISTED).map((row) => tableRow(row, pair)));
  const isFiltered = visible.length < stored;
  byId("shown").textContent = isFiltered ? `${format(visible.length)} of ${format(stored)}` : format(stored);
  const notes = [];
  if (visible.length > MAX_LISTED) {
    notes.push(`${format(visible.length - MAX_LISTED)} more boxes are drawn but not listed.`);
  }
  if (pairs.boxes[pair] > stored) {
    const all = format(pairs.boxes[pair]);
    notes.push(`This page contains the first ${format(stored)} of ${all} boxes; changes.csv lists all.`);
  }
  byId("tableNotes").textContent = notes.join(" ");
}

function tableRow(row, pair) {
  const line = element("tr"), number = csvRow(row, pair), layer = rows.layer[row];
  line.dataset.row = row;
  for (const [name, text] of COLUMNS) {
    const cell = element("td", text ? text(row) : "");
    if (name === "row") {
      const link = element("a", number);
      link.href = `changes.csv#row=${number}`; // RFC 7111
      link.title = `Row ${number} of changes.csv; the header is row 1`;
      cell.append(link);
    } else if (name === "kind") {
      cell.append(element("span", "", "mark " + LAYERS[layer]), labelOf(layer));
    }
    line.append(cell);
  }
  return line;
}

function tooltipText(row, pair) {
  const motion = Number.isFinite(valueOf(rows.dx, row))
    ? `displacement (${decimal(rows.dx[row], 2)}, ${decimal(rows.dy[row], 2)}) px`
    : rows.matched[row] ? "displacement unknown" : "unmatched";
  const lines = [
    `${labelOf(rows.layer[row])}, score ${decimal(scoreOf(rows.score, row), 4)}`,
    motion,
    `confidence ${decimal(scoreOf(rows.confidence, row), 4)}`,
    `x ${rows.x0[row]} to ${rows.x1[row]}, y ${rows.y0[row]} to ${rows.y1[row]}`,
    `row ${csvRow(row, pair)} of changes.csv`,
  ];
  return lines.join("\n");
}

function showRun() {
  const summary = data.summary;
  const counts = [["pairs", summary.pairs ?? pairCount], ["boxes", summary.rows]];
  for (const [kind, count] of countKinds(summary)) counts.push([kind.replace("_", " "), count]);
  if (summary.seconds !== undefined) counts.push(["s", summary.seconds]);
  showCounts(counts);
  showSettings(summary);
}

// Count the boxes of each layer; if this page omits boxes, return the counts of the summary.
function countKinds(summary) {
  if (firstRow[pairCount] !== pairs.boxes.reduce((sum, count) => sum + count, 0)) {
    return Object.entries(summary.kinds || {});
  }
  const counts = LAYERS.map(() => 0);
  for (const layer of rows.layer) counts[layer]++;
  return LAYERS.map((name, layer) => [name, counts[layer]]).filter(([, count]) => count);
}
