"use strict";

const $ = id => document.getElementById(id);
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a5195", "#8c8c00", "#444444", "#b0a090"];
const AT_ONCE = 2, TRIES = 40, DOUBT = 0.9, GREAT_DOUBT = 0.6;
const TOO_LATE = 504;
const LARGEST = 0.9;  // share of the largest request that images may fill
const HIDDEN = /^(\.|Thumbs\.db$|desktop\.ini$)/i;

let model = null, token = sessionStorage.getItem("token") || "";
let cells = [], waiting = [], busy = 0, known = new Set(), repeated = 0, counted = [], open = null, listed = [];
let perRequest = 32, counting = false, outdated = false;
const out = new Set();  // classes that do not count to the 100 %

const percent = (share, digits = 1) => share === null ? "–" : (100 * share).toFixed(digits);
const limits = (low, high) => low === null ? "–" : `${percent(low)} – ${percent(high)}`;
const classOf = cell => cell.byHand ?? cell.predicted;
const colour = name => COLOURS[model.classes.indexOf(name) % COLOURS.length];
const many = (count, one, several) => `${count.toLocaleString("en")} ${count === 1 ? one : several}`;

/* Create an element; text is never read as markup, since names of files may hold anything. */
function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

/* Ask the server. Throws an error with the server's own words, and with its status. */
async function ask(path, options = {}) {
  const headers = {...options.headers, ...(token && {Authorization: `Bearer ${token}`})};
  const response = await fetch(path, {...options, headers});
  const body = await response.json().catch(() => null);
  if (response.ok || (response.status === 422 && Array.isArray(body))) return body;
  const detail = typeof body?.detail === "string" ? body.detail : `status ${response.status}`;
  throw Object.assign(new Error(detail), {status: response.status, after: Number(response.headers.get("Retry-After")) || 1});
}

/* ---- The network ---- */

async function start() {
  try {
    model = await ask("model");
  } catch (error) {
    $("login").hidden = error.status !== 401;
    showFault(error.status === 401 ? (token ? "This is not the token of the server." : "") : `The server does not answer: ${error.message}`);
    return;
  }
  sessionStorage.setItem("token", token);
  $("login").hidden = true;
  showFault("");
  describe();
  $("work").hidden = false;
  pump();
}

function showFault(text) {
  $("fault").textContent = text;
  $("fault").hidden = !text;
}

function describe() {
  const {figures, data} = model, run = model.run_id ? ` · run ${model.run_id.slice(0, 8)}` : "";
  $("network").textContent = `Network ${model.experiment ?? model.title}${run} · ${model.classes.length} classes: ${model.classes.join(", ")}`;
  $("use").textContent = model.intended_use;
  $("figures").replaceChildren(...sentences(figures, data));
  const facts = {
    "Data": data && [data.name, data.folder].filter(Boolean).join(", "), "Cells": data?.cells, "Resolution": data?.resolution,
    "SHA-256 of the data": data?.sha256, "Architecture": model.architecture,
    "Reads images at": `${model.read_at} × ${model.read_at} pixels${model.crop ? `, from the middle ${model.crop}` : ""}`,
    "Views of each cell": model.views ?? "one", "Run": model.run_id,
  };
  $("facts").replaceChildren(...Object.entries(facts).filter(([, fact]) => fact).flatMap(
    ([name, fact]) => [element("dt", {textContent: name}), element("dd", {textContent: fact})]));
  $("limitations").replaceChildren(...model.limitations.map(text => element("li", {textContent: text})));
  $("banner").hidden = false;
  $("map-name").textContent = `${model.map}: where the network looked for its class. Yellow counts most.`;
}

/* Say how good the network is: on its own test set and, in red where it is no better than a constant answer, on others. */
function sentences(figures, data) {
  if (!figures) return ["How accurate it is is not known."];
  const between = figures.interval ? ` (95 % limits ${limits(...figures.interval)})` : "";
  const beside = frequent => frequent === null ? "" : `; always answering the most frequent class: ${percent(frequent)} %`;
  const own = `Trained and tested on ${data?.folder ?? data?.name ?? "one data set"}: ${percent(figures.accuracy)} % of the test cells right${between}${beside(figures.most_frequent)}.`;
  const others = figures.elsewhere.map(({name, accuracy, most_frequent}) => element("span", {
    className: most_frequent !== null && accuracy <= most_frequent ? "bad" : "",
    textContent: ` On ${name}: ${percent(accuracy)} %${beside(most_frequent)}.`,
  }));
  return [own, ...(others.length ? others : [" It was not tested on cells of another laboratory."])];
}
