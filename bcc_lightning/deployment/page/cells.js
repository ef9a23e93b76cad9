/* ---- What is shown ---- */

let planned = null;
function refresh() {
  planned ??= setTimeout(() => { planned = null; showProgress(); showCells(); count(); }, 150);
}

function showProgress() {
  const done = cells.filter(cell => cell.done).length, bad = cells.filter(cell => cell.error);
  $("state").hidden = !cells.length;
  $("progress").max = cells.length || 1;
  $("progress").value = done;
  $("progress").hidden = done === cells.length;
  const again = repeated ? ` ${many(repeated, "file was", "files were")} here already and left out.` : "";
  $("progress-text").textContent = (done < cells.length ? `${done.toLocaleString("en")} of ${many(cells.length, "image", "images")} classified` :
    `${many(done - bad.length, "cell", "cells")} classified.`) + again;
  $("errors").hidden = !bad.length;
  $("errors").firstElementChild.textContent = `${many(bad.length, "file", "files")} could not be classified and ${bad.length === 1 ? "is" : "are"} not counted`;
  $("errors").lastElementChild.replaceChildren(...bad.map(cell => element("li", {textContent: `${cell.path}: ${cell.error}`})));
}

const ORDERS = {
  unsure: (a, b) => a.margin - b.margin,
  class: (a, b) => model.classes.indexOf(classOf(a)) - model.classes.indexOf(classOf(b)) || a.margin - b.margin,
  name: (a, b) => a.path.localeCompare(b.path, "en", {numeric: true}),
};

function showCells() {
  const isChoosing = document.activeElement?.matches("#cells select, #filter") && (busy || waiting.length);
  if (open || isChoosing) return;  // later: an open list would close, and the order of an enlarged cell change
  const good = cells.filter(cell => cell.predicted), filter = $("filter").value, order = $("order").value;
  $("tools").hidden = $("differential").hidden = !good.length;
  const choices = [["", `all ${good.length}`], ...model.classes.map(name => [name, `${name} (${good.filter(cell => classOf(cell) === name).length})`]),
    ["\u0000hand", `changed by hand (${good.filter(cell => cell.byHand).length})`]];
  $("filter").replaceChildren(...choices.map(([value, textContent]) => element("option", {value, textContent, selected: value === filter})));
  listed = good.filter(cell => !filter || (filter === "\u0000hand" ? cell.byHand : classOf(cell) === filter)).sort(ORDERS[order]);
  const focused = document.activeElement, shown = [];
  let last = null;
  for (const cell of listed) {
    if (order === "class" && classOf(cell) !== last) {
      last = classOf(cell);
      shown.push(element("h3", {textContent: `${last} (${listed.filter(other => classOf(other) === last).length})`}));
    }
    shown.push(card(cell));
  }
  $("cells").replaceChildren(...shown);
  if (focused?.isConnected && focused !== document.activeElement) focused.focus();
}

function card(cell) {
  if (!cell.card) {
    const name = cell.path.split("/").pop(), image = element("img", {src: cell.url ??= URL.createObjectURL(cell.file), alt: "", loading: "lazy"});
    const picture = element("button", {type: "button", className: "picture", onclick: () => enlarge(cell)}, image);
    image.onerror = () => picture.replaceChildren(element("span", {className: "none", textContent: "this browser cannot show the file; open it here"}));
    const choice = element("select", {onchange: event => setClass(cell, event.target.value)},
      ...model.classes.map(one => element("option", {value: one, textContent: one})));
    choice.setAttribute("aria-label", `class of ${name}`);
    const strip = element("div", {className: "strip"}), sure = element("div", {className: "sure"});
    const label = element("div", {className: "name", title: cell.path}, element("bdi", {textContent: cell.path}));
    cell.card = element("li", {className: "cell"}, picture, strip, element("div", {className: "text"}, choice, sure, label));
    cell.parts = {picture, choice, sure, strip};
  }
  const {picture, choice, sure, strip} = cell.parts;
  choice.value = classOf(cell);
  strip.style.background = colour(classOf(cell));
  cell.card.classList.toggle("hand", cell.byHand !== null);
  sure.replaceChildren(...certainty(cell));
  picture.setAttribute("aria-label", `${cell.path}: ${classOf(cell)}, ${sure.textContent}; enlarge`);
  return cell.card;
}

/* Say how sure the network is, and what else the cell may be. */
function certainty(cell) {
  const probability = `${percent(cell.probability)} %`;
  if (cell.byHand) return [element("span", {className: "by-hand", textContent: "by hand"}), ` network: ${cell.predicted} ${probability}`];
  const [, [second, next]] = Object.entries(cell.probabilities).sort((a, b) => b[1] - a[1]);
  const doubt = cell.probability < GREAT_DOUBT ? "great-doubt" : cell.probability < DOUBT ? "doubt" : "";
  return [element("span", {className: doubt, textContent: probability}), next >= 0.02 ? ` or ${second} ${percent(next)} %` : ""];
}

function setClass(cell, name) {
  cell.byHand = name === cell.predicted ? null : name;
  card(cell);
  if (open === cell) showLarge();
  refresh();
}

/* ---- One cell ---- */

function enlarge(cell) {
  open = cell;
  showLarge();
  if (!$("large").open) $("large").showModal();
  drawMap(cell);
}

async function drawMap(cell) {
  if (!cell.map) {
    $("large-map").removeAttribute("src");
    $("large-image").src = cell.url;
    const form = new FormData();
    form.append("files", cell.file, cell.path);
    const answers = await persistently("predict?map=true", {method: "POST", body: form}).catch(error => { showAnswer(`No map: ${error.message}`); return []; });
    if (!answers.length) return;
    cell.map = answers[0].map;
    cell.image = answers[0].image;
  }
  if (open === cell) [$("large-image").src, $("large-map").src] = [cell.image, cell.map];
}

function showAnswer(text) {
  $("answer").textContent = text;
}

function showLarge() {
  const cell = open;
  $("large-name").textContent = cell.path;
  showAnswer(`Network: ${cell.predicted}, ${percent(cell.probability)} %.${cell.byHand ? ` By hand: ${cell.byHand}.` : ""}`);
  $("probabilities").tBodies[0].replaceChildren(...model.classes.map((name, place) => {
    const probability = cell.probabilities[name], bar = element("i");
    bar.style.width = `${100 * probability}%`;
    const choice = element("button", {type: "button", onclick: () => setClass(cell, name)}, `${place < 9 ? `${place + 1} ` : ""}${name}`);
    choice.setAttribute("aria-pressed", String(name === classOf(cell)));
    return element("tr", {}, element("td", {}, choice), element("td", {textContent: `${percent(probability)} %`}),
      element("td", {}, element("div", {className: "scale"}, bar)));
  }));
}

function step(by) {
  const place = listed.indexOf(open), next = listed[place + by];
  if (next) enlarge(next);
}

function key(event) {
  if (!$("large").open || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key === "0") setClass(open, open.predicted);
  else if (/^[1-9]$/.test(event.key) && model.classes[event.key - 1]) setClass(open, model.classes[event.key - 1]);
  else return;
  event.preventDefault();
}
