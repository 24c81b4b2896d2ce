// What a page does beyond being read: light or dark, the search, pictures at full size, code to the clipboard. Nothing is loaded from outside.
{
const root = document.body.dataset.root
document.documentElement.classList.add("js")

// ---- light and dark
const html = document.documentElement
const themeButton = document.querySelector("button.theme")
const system = matchMedia("(prefers-color-scheme: dark)")
const isDark = () => (html.dataset.theme || (system.matches ? "dark" : "light")) === "dark"
const sayTheme = () => { themeButton.textContent = isDark() ? "Light" : "Dark"; themeButton.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"}`) }
themeButton.onclick = () => {
  html.dataset.theme = isDark() ? "light" : "dark"
  try { localStorage.setItem("theme", html.dataset.theme) } catch { /* a page opened as a file may have no storage */ }
  sayTheme()
}
system.addEventListener("change", sayTheme)
sayTheme()

// ---- lists of chapters and sections are closed where they would push the text down
if (innerWidth <= 56 * 16) for (const list of document.querySelectorAll("details.sidebar, details.contents")) list.open = false
else if (innerWidth <= 78 * 16) for (const list of document.querySelectorAll("details.contents")) list.open = false
document.querySelector(".sidebar [aria-current]")?.scrollIntoView({ block: "nearest" })
scrollTo(0, location.hash ? scrollY : 0)

// ---- a place inside a fold opens it
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)))
  for (let fold = target?.closest?.("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true
}
addEventListener("hashchange", unfold)
unfold()

// ---- search
const plain = text => text.normalize("NFKD").replace(/[\u0300-\u036f\u203e]/g, "").toLowerCase()
let index, box

const loadIndex = () => index ??= new Promise((resolve, reject) => {
  const script = document.createElement("script")  // a page opened as a file may not fetch
  script.src = `${root}/site/search.js`
  script.onload = () => resolve(bookIndex.map(entry => ({ ...entry, lower: [entry.title, entry.section, entry.text].map(plain) })))
  script.onerror = reject
  document.head.append(script)
})

function rank(entry, words) {
  let score = 0
  for (const word of words) {
    const [title, section, text] = entry.lower.map(part => (` ${part}`).split(word).length - 1)
    const whole = new RegExp(`(^|[^\\p{L}\\p{N}.])${word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}($|[^\\p{L}\\p{N}])`, "u")
    if (!(title + section + text)) return 0
    score += 8 * (title > 0) * (entry.section ? .5 : 2) + 10 * (section > 0) + Math.min(text, 5) * .6 + 3 * whole.test(entry.lower.join(" "))
  }
  return score
}

function excerpt(text, words) {
  const lower = plain(text), places = words.map(word => lower.indexOf(word)).filter(i => i >= 0)
  const at = places.length ? Math.max(0, Math.min(...places) - 60) : 0
  const piece = document.createElement("span")
  const rest = (at ? "… " : "") + text.slice(at, at + 180) + (text.length > at + 180 ? " …" : "")
  const pattern = new RegExp(`(${words.map(word => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "gi")
  for (const part of rest.split(pattern)) {
    const node = document.createElement(words.includes(plain(part)) ? "mark" : "span")
    node.textContent = part
    piece.append(node)
  }
  return piece
}

async function search(query) {
  const words = plain(query).split(/\s+/).filter(Boolean), list = box.querySelector("ol"), note = box.querySelector("p")
  if (!words.length) return list.replaceChildren()
  const entries = await loadIndex()
  const found = entries.map(entry => [rank(entry, words), entry]).filter(([score]) => score).sort((a, b) => b[0] - a[0]).slice(0, 30)
  note.textContent = found.length ? "" : "Nothing found."
  list.replaceChildren(...found.map(([, entry]) => {
    const item = document.createElement("li"), link = document.createElement("a"), name = document.createElement("strong"), where = document.createElement("span")
    link.href = `${root}/${entry.href}`
    name.textContent = entry.section || entry.title
    where.className = "where"
    where.textContent = entry.section ? `${entry.title} · ` : ""
    link.append(name, where, excerpt(entry.text, words))
    link.onclick = () => box.close()
    item.append(link)
    return item
  }))
}

function openSearch() {
  if (!box) {
    box = document.createElement("dialog")
    box.className = "find"
    box.setAttribute("aria-label", "Search the book")
    box.innerHTML = '<input type="search" aria-label="Search the book" placeholder="A word, a name in the code, or a number such as 21.3"><p role="status"></p><ol></ol>'
    const input = box.querySelector("input")
    let waiting
    input.oninput = () => { clearTimeout(waiting); waiting = setTimeout(() => search(input.value), 80) }
    box.onclick = event => event.target === box && box.close()
    box.onkeydown = event => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], links = [...box.querySelectorAll("input, a")]
      if (event.key === "Enter" && document.activeElement === input && links[1]) {
        event.preventDefault()
        box.close()
        location.href = links[1].href
      }
      if (!step) return
      event.preventDefault()
      links[(links.indexOf(document.activeElement) + step + links.length) % links.length].focus()
    }
    document.body.append(box)
  }
  loadIndex().catch(() => { box.querySelector("p").textContent = "The search could not be loaded." })
  box.showModal()
  box.querySelector("input").select()
}
document.querySelector("button.search").onclick = openSearch
addEventListener("keydown", event => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || /INPUT|TEXTAREA|SELECT/.test(event.target.tagName)) return
  event.preventDefault()
  openSearch()
})

// ---- pictures at full size
document.querySelector("main").addEventListener("click", event => {
  const picture = event.target
  if (picture.tagName !== "IMG" || picture.closest("a, .animation")) return
  const dialog = document.createElement("dialog")
  dialog.className = "zoom"
  dialog.setAttribute("aria-label", "Picture at full size")
  dialog.append(Object.assign(new Image(), { src: picture.src, alt: picture.alt }))
  dialog.onclick = () => dialog.close()
  dialog.onclose = () => dialog.remove()
  document.body.append(dialog)
  dialog.showModal()
})

// ---- code to the clipboard
for (const block of document.querySelectorAll("div.sourceCode")) {
  const button = document.createElement("button")
  button.type = "button"
  button.className = "copy"
  button.textContent = "Copy"
  button.onclick = async () => {
    await navigator.clipboard?.writeText(block.querySelector("code").innerText)
    button.textContent = "Copied"
    setTimeout(() => { button.textContent = "Copy" }, 1500)
  }
  block.append(button)
}

// ---- what scrolls can be scrolled by keys
for (const block of document.querySelectorAll("main pre, main table, main math[display=block]")) if (block.scrollWidth > block.clientWidth + 1) block.tabIndex = 0
}
