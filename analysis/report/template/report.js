"use strict";

// A table's heading sorts its rows: ascending, then descending. Empty cells stay last; equal ones
// keep their order.
function sortBy(table, column) {
  const headings = [...table.tHead.rows[0].cells];
  const descending = headings[column].getAttribute("aria-sort") === "ascending";
  for (const heading of headings) heading.setAttribute("aria-sort", "none");
  headings[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: row.cells[column].dataset.sort }));
  rows.sort((a, b) => {
    if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "");
    return descending ? compare(b.key, a.key) : compare(a.key, b.key);
  });
  body.append(...rows.map(({ row }) => row));
}

// Numbers come before words, and numbers inside words count as such: b2, b16, b128.
function compare(a, b) {
  const words = [a, b].map((key) => Number.isNaN(Number(key)));
  if (words[0] !== words[1]) return words[0] - words[1];
  return words[0] ? a.localeCompare(b, undefined, { numeric: true }) : Number(a) - Number(b);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => sortBy(table, column));
  });
}

// On a narrow screen the contents begin folded.
if (window.matchMedia("(max-width: 68rem)").matches) {
  document.querySelector("nav details").open = false;
}
