/* ---- Differential ---- */

function counts() {
  const found = Object.fromEntries(model.classes.map(name => [name, 0]));
  for (const cell of cells) if (cell.predicted) found[classOf(cell)] += 1;
  return found;
}

async function count() {
  outdated = true;
  if (counting) return;
  counting = true;
  try {
    while (outdated) {
      outdated = false;
      const body = JSON.stringify({counts: counts(), of: model.classes.filter(name => !out.has(name))});
      counted = await persistently("differential", {method: "POST", headers: {"Content-Type": "application/json"}, body});
      showDifferential();
    }
    showFault("");
  } catch (error) {
    showFault(`The differential could not be computed: ${error.message}`);
  } finally {
    counting = false;
  }
}

function showDifferential() {
  const all = counts(), byHand = cells.filter(cell => cell.byHand).length, rows = Object.fromEntries(counted.map(row => [row.class, row]));
  const corrects = model.corrects_confusions && !byHand, total = counted.reduce((sum, row) => sum + row.count, 0);
  $("total").textContent = `${many(total, "cell", "cells")} count to the 100 %${byHand ? `, ${byHand} of all changed by hand` : ""}${busy || waiting.length ? ", so far" : ""}`;
  document.querySelectorAll("th.corrected").forEach(heading => { heading.hidden = !corrects; });
  $("rows").replaceChildren(...model.classes.map(name => differentialRow(name, all[name], rows[name], corrects)));
  $("notes").replaceChildren(...notes(corrects, byHand).map(textContent => element("p", {textContent})));
}

function differentialRow(name, cellsOfClass, row, corrects) {
  const box = element("input", {type: "checkbox", checked: !out.has(name), onchange: () => { out.has(name) ? out.delete(name) : out.add(name); count(); }});
  box.setAttribute("aria-label", `${name} counts to the 100 %`);
  const dot = element("span", {className: "dot"});
  dot.style.background = colour(name);
  const show = element("button", {type: "button", title: `show only ${name}`, onclick: () => { $("filter").value = name; showCells(); }}, dot, name);
  const range = row && row.share !== null ? element("td", {}, limits(row.low, row.high), scale(row)) : element("td", {textContent: "–"});
  const texts = row ? [cellsOfClass, `${percent(row.share)} %`] : [cellsOfClass, "–"];
  const corrected = !corrects ? [] : row ? [`${percent(row.corrected)} %`, limits(row.corrected_low, row.corrected_high)] : ["–", "–"];
  return element("tr", {className: row ? "" : "out"}, element("td", {}, box), element("td", {}, show),
    ...texts.map(textContent => element("td", {textContent})), range, ...corrected.map(textContent => element("td", {textContent})));
}

/* Draw a share between its limits, from 0 to 100 %. */
function scale({share, low, high}) {
  const range = element("i"), point = element("b");
  range.style.left = `${100 * low}%`;
  range.style.width = `${100 * (high - low)}%`;
  point.style.left = `${100 * share}%`;
  return element("div", {className: "scale"}, range, point);
}

function notes(corrects, byHand) {
  const found = ["95 % limits: exact binomial (Clopper-Pearson), as in Rümke's table. They hold that few cells were counted, not that some may be classified wrongly."];
  if (corrects) found.push("Corrected: for the confusions that the network is known to make on its validation set, with limits that hold both. Right for cells like those of its training only.");
  else if (byHand && model.corrects_confusions) found.push("Shares are no longer corrected for the network's confusions, because classes were changed by hand.");
  else found.push("Shares are not corrected for the network's confusions: they are not known.");
  return found;
}

/* ---- Tables out ---- */

const quoted = value => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
const line = values => values.map(value => quoted(String(value ?? ""))).join(",") + "\r\n";

function save(name, lines) {
  const link = element("a", {href: URL.createObjectURL(new Blob(lines, {type: "text/csv"})), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function slide() {
  const folders = new Set(cells.map(cell => cell.path.includes("/") ? cell.path.split("/")[0] : ""));
  return folders.size === 1 ? [...folders][0] || "cells" : "cells";
}

function saveCells() {
  const names = model.classes, rows = cells.filter(cell => cell.done).sort(ORDERS.name);
  save(`${slide()}.csv`, [line(["path", "predicted", "probability", ...names.map(name => model.columns[name]), "margin", "error", "by_hand"]),
    ...rows.map(cell => line([cell.path, cell.predicted, cell.probability, ...names.map(name => cell.probabilities?.[name]), cell.margin, cell.error, cell.byHand]))]);
}

function saveCounts() {
  const corrects = model.corrects_confusions && !cells.some(cell => cell.byHand);
  const columns = ["count", "share", "low", "high", "corrected", "corrected_low", "corrected_high"];
  save(`${slide()}.differential.csv`, [line(["slide", "class", ...columns]),
    ...counted.map(row => line([slide(), row.class, ...columns.map(name => name.startsWith("corrected") && !corrects ? "" : row[name])]))]);
}

function clear() {
  if (cells.some(cell => cell.byHand) && !confirm("Classes that were set by hand are lost. Clear all the same?")) return;
  cells.forEach(cell => cell.url && URL.revokeObjectURL(cell.url));
  [cells, waiting, known, repeated] = [[], [], new Set(), 0];
  $("filter").value = "";
  refresh();
}
