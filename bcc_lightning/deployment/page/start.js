/* ---- Events ---- */

$("login").onsubmit = event => { event.preventDefault(); token = $("token").value.trim(); start(); };
$("choose").onclick = () => $("images").click();
$("choose-folder").onclick = () => $("folder").click();
$("images").onchange = $("folder").onchange = chosen;
$("order").onchange = $("filter").onchange = showCells;
$("save").onclick = saveCells;
$("save-counts").onclick = saveCounts;
$("clear").onclick = clear;
$("close").onclick = () => $("large").close();
$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("large").onclose = () => { const cell = open; open = null; showCells(); cell?.parts.picture.focus(); };
document.addEventListener("keydown", key);
document.addEventListener("dragover", event => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", event => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", dropped);
window.addEventListener("beforeunload", event => { if (cells.some(cell => cell.byHand)) event.preventDefault(); });
start();
