// Where tiles stand: as many columns as make the pictures largest.

/** So much wider than high is what a picture shows at least of a face, however it is cut to fill its tile. */
const RATIO = 1.2;
const GAP = 8;

/** Columns for `count` tiles in a box of this many pixels. */
export function bestColumns(width: number, height: number, count: number): number {
  let best = 1;
  let largest = 0;
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(count / columns);
    const wide = (width - GAP * (columns - 1)) / columns;
    const high = (height - GAP * (rows - 1)) / rows;
    const picture = Math.min(wide, high * RATIO);
    // A little more is not worth one more column.
    if (picture > largest * 1.02) {
      largest = picture;
      best = columns;
    }
  }
  return best;
}

/** The column (from 1, in halves of tiles) where tile `index` begins, so that the last row stands in the middle. */
export function startOf(index: number, count: number, columns: number): number {
  const row = Math.floor(index / columns);
  const inRow = Math.min(columns, count - row * columns);
  return 1 + (columns - inRow) + 2 * (index % columns);
}
