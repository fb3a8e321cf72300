// Whether there is room for a third column; the same width stands in `styles/layout.css`.

import { signal } from "@preact/signals";

const query = matchMedia("(min-width: 1200px)");

export const wide = signal(query.matches);
query.addEventListener("change", () => {
  wide.value = query.matches;
});
