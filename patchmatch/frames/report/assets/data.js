// Data of the run: pairs, rows and sequences.

const UNKNOWN = 65535; // of fixed-point values, in units of 1/10000
const pairs = decodeAll(data.pairs);
const rows = decodeAll(data.rows);
const LAYERS = data.layers; // each row has an index into it; each name is a color of page.css

const pairCount = pairs.boxes.length;
const firstRow = new Int32Array(pairCount + 1); // first row of each pair on this page
const firstCsvRow = new Int32Array(pairCount); // first row of each pair in changes.csv
for (let pair = 0, next = 2; pair < pairCount; pair++) { // the csv header is row 1
  firstRow[pair + 1] = firstRow[pair] + Math.min(pairs.boxes[pair], data.maxRows);
  firstCsvRow[pair] = next;
  next += pairs.boxes[pair];
}

const sequences = []; // each {name, pairs: indices of its pairs}
{
  const byName = new Map();
  for (let pair = 0; pair < pairCount; pair++) {
    const name = pairs.source[pair];
    if (!byName.has(name)) byName.set(name, sequences.push({name: data.names[name], pairs: []}) - 1);
    sequences[byName.get(name)].pairs.push(pair);
  }
}

// Thumbnails show later frames; an earlier frame uses that of the pair where it is the later one.
const thumbnailOfFrame = new Map();
for (let pair = 0; pair < pairCount; pair++) {
  thumbnailOfFrame.set(pairs.source[pair] + "/" + pairs.frame1[pair], pairs.thumbnail[pair]);
}
function earlierThumbnail(pair) {
  return thumbnailOfFrame.get(pairs.source[pair] + "/" + pairs.frame0[pair]);
}

function scoreOf(column, row) {
  return column[row] === UNKNOWN ? NaN : column[row] / 10000;
}

function timeOf(pair) {
  return valueOf(pairs.time1, pair);
}
