/* ---- Images in ---- */

async function filesIn(entry) {
  if (HIDDEN.test(entry.name)) return [];
  if (entry.isFile) return new Promise(resolve => entry.file(file => resolve([{file, path: entry.fullPath.replace(/^\//, "")}]), () => resolve([])));
  const reader = entry.createReader(), found = [];
  for (;;) {  // the reader gives a hundred entries at a time
    const some = await new Promise(resolve => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return found;
    for (const one of some) found.push(...await filesIn(one));
  }
}

async function dropped(event) {
  event.preventDefault();
  $("drop").classList.remove("over");
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...event.dataTransfer.files].map(file => ({file, path: file.name}));
  add(entries.length ? (await Promise.all(entries.map(filesIn))).flat() : files);
}

function chosen(event) {
  add([...event.target.files].map(file => ({file, path: file.webkitRelativePath || file.name})).filter(({file}) => !HIDDEN.test(file.name)));
  event.target.value = "";
}

function add(found) {
  for (const {file, path} of found.sort((a, b) => a.path.localeCompare(b.path, "en", {numeric: true}))) {
    const key = `${path}|${file.size}|${file.lastModified}`;
    if (known.has(key)) { repeated += 1; continue; }  // a cell that is dropped twice counts once
    known.add(key);
    const cell = {file, path, predicted: null, error: null, byHand: null, done: false};
    cells.push(cell);
    if (file.size > LARGEST * model.limits.body) fail(cell, `has ${Math.round(file.size / 2 ** 20)} MB, more than this server takes`);
    else waiting.push(cell);
  }
  showProgress();
  pump();
}

/* Take the next cells for one request: not too many, and not too large. */
function nextChunk() {
  const chunk = [], most = Math.min(perRequest, model.limits.images);
  let size = 0;
  while (waiting.length && chunk.length < most && (!chunk.length || size + waiting[0].file.size < LARGEST * model.limits.body)) {
    size += waiting[0].file.size + 1000;
    chunk.push(waiting.shift());
  }
  return chunk;
}

async function pump() {
  while (model && busy < AT_ONCE && waiting.length) {
    busy += 1;
    const chunk = nextChunk();
    classify(chunk).catch(error => chunk.forEach(cell => fail(cell, error.message))).finally(() => {
      busy -= 1;
      refresh();
      pump();
    });
  }
}

async function classify(chunk) {
  const form = new FormData(), sent = [];
  for (const cell of chunk) {
    try {
      form.append("files", new Blob([await cell.file.arrayBuffer()]), cell.path);
      sent.push(cell);
    } catch {
      fail(cell, "cannot be read from this disk");
    }
  }
  if (!sent.length) return;
  const answers = await persistently("predict", {method: "POST", body: form}).catch(error => {
    if (error.status !== TOO_LATE || sent.length === 1) throw error;
    perRequest = Math.ceil(sent.length / 2);  // a slow network: ask for fewer at once
    waiting.unshift(...sent);
  });
  if (!answers) return;
  sent.forEach((cell, place) => {
    const {filename, error, ...answer} = answers[place];
    if (error) fail(cell, error);
    else Object.assign(cell, answer, {done: true});
  });
}

/* Ask again while the server is busy or out of reach for a moment. */
async function persistently(path, options) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask(path, options);
    } catch (error) {
      const passing = error.status === 503 || (error.status === undefined && attempt < 4);
      if (!passing || attempt === TRIES) {
        throw error.status === undefined ? new Error(`the server is out of reach (${error.message})`) : error;
      }
      await new Promise(resolve => setTimeout(resolve, 1000 * (error.after ?? attempt)));
    }
  }
}

function fail(cell, reason) {
  Object.assign(cell, {error: reason, done: true});
}
