// The interface's words, in English and Chinese.

const ENGLISH = {
  ask: "Ask", operate: "Operate", history: "History", signIn: "Sign in", signOut: "Sign out",
  skip: "Skip to the question", question: "Question", placeholder: "Ask in any language", send: "Ask", stop: "Stop",
  hint: "Enter asks, Shift+Enter starts a new line, / comes back here, Esc stops or closes",
  newConversation: "New conversation", theme: "Colours", themeAuto: "Automatic", themeLight: "Light", themeDark: "Dark",
  welcome: "Ask something that your databases or documents say.", welcomeMore: "Every sentence comes with the row or page it stands on. Without evidence you are told so.",
  searching: "Searching …", answering: "Answering …", done: "Done", unfounded: "No answer in your sources", refused: "No evidence found", degraded: "Quoted: the language model is away",
  stopped: "Stopped", error: "Not answered", cut: "The answer reached its length limit.", quoted: "Quoted",
  you: "Question", answer: "Answer", retry: "Ask again", edit: "Edit", copy: "Copy with sources", copied: "Copied", notCopied: "Copying failed: select the text instead.",
  sources: "Sources", showSources: n => `Sources (${n})`, save: "Ask this", cancel: "Cancel", close: "Close", source: n => `Source ${n}`,
  answered: n => `Answer complete, ${n} sources cited.`,
  refusedSearched: "Searched for", refusedIn: "in", allSources: "all sources", refusedFilter: "with the filter", refusedNearest: "The nearest passages, none of which held the evidence:", refusedNothing: "Nothing near was found.",
  refusedNext: "Name the thing as your data does, widen the sources or the filter, or ask for one row or page: figures over many rows are not guessed.",
  degradedWhy: "The language model did not answer, so the best sentences are quoted as they stand.", uncited: n => `${n} sentence(s) without a source: check them yourself.`,
  standalone: "Searched as",
  offline: "The service was not reached, or the connection was cut. Check the network, then ask again.",
  goOn401: "Sign in with an API key, then ask again.", goOn403: "Your key does not allow this. Ask whoever made it for a wider one.", goOn413: "Shorten it, then ask again.",
  goOn422: "Change the question or its options, then ask again.", goOn429: s => `Wait ${s} s, then ask again.`, goOn503: s => `Ask again in ${s} s.`, goOn504: "Ask again, or ask for less.", goOn500: "Ask again. If it stays so, give your operator this number:",
  language: "Language", tokens: (prompt, cached, out) => `${prompt} prompt tokens, ${cached} of them cached; ${out} answered`, firstToken: s => `first token after ${s} s`, total: s => `${s} s in all`, noModel: "quoted without a language model",
  askedAt: when => `Asked ${when}`, oldConversation: "The service has forgotten this conversation's passages; a follow-up goes with the text of its turns.",
  options: "Options", optionsNote: "What is left empty is as the service is configured.", profile: "Context length", profileOf: (name, tokens) => `${name}: ${tokens} tokens`, profileDefault: "default",
  maxTokens: "Longest answer (tokens)", temperature: "Temperature", topP: "Top-p", maxPassages: "Passages at most", searchIn: "Search in", filter: "Filter (JSON)", filterHint: 'For example {"table": "Album"} or {"updated_at": {"gte": "2026-01-01"}}', badJson: "This is no JSON object.",
  json: "Answer in JSON", schema: "JSON schema (empty: any object)", reset: "Reset", optionsSet: n => `Options (${n} set)`,
  panel: "Source", key: "Key", page: "Page", place: "Place", version: "Version", field: "Field", value: "Value", keyField: "key", row: "Row", passage: "Passage", cutPassage: "Only its beginning fitted into the prompt.", openLink: "Open", copyPlace: "Copy", label: "Label",
  used: n => `Used (${n})`, unused: n => `Found, not used (${n})`, score: "Score", pointer: "For",
  historyTitle: "Conversations in this browser", historyNote: "Kept on this device only.", historyEmpty: "None yet.", open: "Open", remove: "Delete", export: "Export all", clear: "Delete all", clearSure: "Delete all conversations in this browser?", removeSure: "Delete this conversation?", historyOff: "This browser keeps no history (private window?).", beforeEdit: "before the change",
  signInTitle: "Sign in", signInAgain: "Your key has expired or was ended. Sign in again, and the question is asked again.", signInToAsk: "Sign in, and the question is asked.", signInNote: "With an API key, which `citewell keys create` makes, or a token of your provider. It is kept in a cookie that no script can read, for 12 hours.", apiKey: "API key", signInFailed: "The key was not accepted.", signedInAs: name => `Signed in as ${name}`, signOutForget: "Sign out and delete the history", signInFirst: "Sign in to ask.",
  health: "Health", healthy: "answers", unhealthy: "fails", kind: "Kind", documents: "Documents", chunks: "Chunks", lastSync: "Last sync", nextSync: "Next sync", lag: "Behind by", rate: "Rate", perSecond: "documents/s", never: "never", notScheduled: "not scheduled", setAside: "Set aside", sync: "Sync", syncAll: "Sync all", full: "Index everything anew", actions: "Actions",
  jobs: "Syncs", job: n => `Sync ${n}`, noJobs: "None yet.", cancelJob: "Cancel", progress: "Progress", allowDelete: "Sync and allow the deletions", left: s => `${s} left`,
  quarantine: "Set aside", quarantineNote: "Documents that could not be read. They are tried again when they change, or when you retry.", noQuarantine: "None.", reason: "Reason", since: "Since", retryAll: source => `Retry ${source}`, more: "More", document: "Document",
  queued: "waiting", running: "running", failed: "failed", cancelled: "cancelled", broken: "broken off", partial: "partly done", status_done: "done", cancelling: "ends after its batch", kinds: { source: "source", state: "state store", index: "index", embedder: "embedder", engine: "language model" },
  report: r => `${r.fetched ?? r.read} read, ${r.added} added, ${r.updated} updated, ${r.unchanged} unchanged, ${r.deleted} deleted`,
};

const CHINESE = {
  ask: "提问", operate: "运维", history: "历史", signIn: "登录", signOut: "退出登录",
  skip: "跳到提问框", question: "问题", placeholder: "可用任何语言提问", send: "提问", stop: "停止",
  hint: "回车提问，Shift+回车换行，按 / 回到这里，Esc 停止或关闭",
  newConversation: "新对话", theme: "配色", themeAuto: "自动", themeLight: "浅色", themeDark: "深色",
  welcome: "请就您的数据库或文档提问。", welcomeMore: "每句话都附有所依据的行或页。没有依据时会如实告知。",
  searching: "正在检索……", answering: "正在回答……", done: "完成", unfounded: "来源中没有答案", refused: "没有找到依据", degraded: "摘录原文：语言模型暂不可用",
  stopped: "已停止", error: "未能回答", cut: "回答已达到长度上限。", quoted: "摘录原文",
  you: "问题", answer: "回答", retry: "重新提问", edit: "修改", copy: "连同出处复制", copied: "已复制", notCopied: "复制失败，请手动选取文字。",
  sources: "出处", showSources: n => `出处（${n}）`, save: "以此提问", cancel: "取消", close: "关闭", source: n => `出处 ${n}`,
  answered: n => `回答完成，引用了 ${n} 处。`,
  refusedSearched: "检索内容", refusedIn: "范围", allSources: "全部来源", refusedFilter: "筛选条件", refusedNearest: "最接近的段落如下，但都不足以作为依据：", refusedNothing: "没有找到相近的内容。",
  refusedNext: "请使用数据中的名称，放宽来源或筛选条件，或者只问某一行、某一页：涉及多行的统计不作猜测。",
  degradedWhy: "语言模型没有响应，因此原样摘录最相关的句子。", uncited: n => `有 ${n} 句没有出处，请自行核对。`,
  standalone: "实际检索",
  offline: "未能连接服务，或连接中断。请检查网络后重新提问。",
  goOn401: "请用 API 密钥登录后再提问。", goOn403: "您的密钥没有此权限，请联系签发人。", goOn413: "请缩短后再提问。",
  goOn422: "请修改问题或选项后再提问。", goOn429: s => `请等待 ${s} 秒后再提问。`, goOn503: s => `请在 ${s} 秒后再提问。`, goOn504: "请重新提问，或缩小范围。", goOn500: "请重新提问。如仍失败，请把此编号告诉运维人员：",
  language: "语言", tokens: (prompt, cached, out) => `提示 ${prompt} 词元，其中 ${cached} 来自缓存；回答 ${out} 词元`, firstToken: s => `${s} 秒后出首个词元`, total: s => `共 ${s} 秒`, noModel: "未用语言模型，直接摘录",
  askedAt: when => `提问于 ${when}`, oldConversation: "服务已不再保留此对话的段落；追问时将附上各轮的文字。",
  options: "选项", optionsNote: "留空的项目按服务的配置。", profile: "上下文长度", profileOf: (name, tokens) => `${name}：${tokens} 词元`, profileDefault: "默认",
  maxTokens: "回答长度上限（词元）", temperature: "温度", topP: "Top-p", maxPassages: "段落数上限", searchIn: "检索范围", filter: "筛选条件（JSON）", filterHint: '例如 {"table": "Album"} 或 {"updated_at": {"gte": "2026-01-01"}}', badJson: "这不是 JSON 对象。",
  json: "以 JSON 回答", schema: "JSON Schema（留空：任意对象）", reset: "恢复默认", optionsSet: n => `选项（已设 ${n} 项）`,
  panel: "出处", key: "主键", page: "页码", place: "位置", version: "版本", field: "字段", value: "值", keyField: "主键", row: "行", passage: "段落", cutPassage: "只有开头部分放入了提示。", openLink: "打开", copyPlace: "复制", label: "标签",
  used: n => `已引用（${n}）`, unused: n => `找到但未引用（${n}）`, score: "得分", pointer: "对应",
  historyTitle: "此浏览器中的对话", historyNote: "只保存在本设备上。", historyEmpty: "暂无。", open: "打开", remove: "删除", export: "全部导出", clear: "全部删除", clearSure: "要删除此浏览器中的全部对话吗？", removeSure: "要删除此对话吗？", historyOff: "此浏览器不保存历史（隐私窗口？）。", beforeEdit: "修改前",
  signInTitle: "登录", signInAgain: "您的密钥已过期或已停用。重新登录后，问题会再次提交。", signInToAsk: "登录后，问题会自动提交。", signInNote: "请输入 API 密钥（由 `citewell keys create` 生成）或身份提供方的令牌。它保存在脚本无法读取的 Cookie 中，有效 12 小时。", apiKey: "API 密钥", signInFailed: "密钥未被接受。", signedInAs: name => `已登录：${name}`, signOutForget: "退出并删除历史", signInFirst: "请先登录。",
  health: "健康状况", healthy: "正常", unhealthy: "故障", kind: "类型", documents: "文档", chunks: "分块", lastSync: "上次同步", nextSync: "下次同步", lag: "落后", rate: "速率", perSecond: "文档/秒", never: "从未", notScheduled: "未排程", setAside: "搁置", sync: "同步", syncAll: "全部同步", full: "全部重新索引", actions: "操作",
  jobs: "同步任务", job: n => `同步 ${n}`, noJobs: "暂无。", cancelJob: "取消", progress: "进度", allowDelete: "同步并允许这些删除", left: s => `还需 ${s}`,
  quarantine: "搁置的文档", quarantineNote: "无法读取的文档。内容变化时会再试，也可手动重试。", noQuarantine: "无。", reason: "原因", since: "自", retryAll: source => `重试 ${source}`, more: "更多", document: "文档",
  queued: "等待中", running: "进行中", failed: "失败", cancelled: "已取消", broken: "中断", partial: "部分完成", status_done: "完成", cancelling: "本批完成后结束", kinds: { source: "来源", state: "状态库", index: "索引", embedder: "嵌入模型", engine: "语言模型" },
  report: r => `读取 ${r.fetched ?? r.read}，新增 ${r.added}，更新 ${r.updated}，未变 ${r.unchanged}，删除 ${r.deleted}`,
};

export const LANGUAGES = { en: "English", zh: "中文" };
export const WORDS = { en: ENGLISH, zh: CHINESE };
const LOCALES = { en: "en", zh: "zh-CN" };
const KEPT = "citewell-language";

export let language = "en";

export function setLanguage(wanted) {
  language = wanted in WORDS ? wanted : "en";
  localStorage.setItem(KEPT, language);
  apply();
}

/** The language that was chosen before, or the browser's. */
export function startLanguage() {
  const chosen = localStorage.getItem(KEPT) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
  language = chosen in WORDS ? chosen : "en";
  apply();
}

/** A word, or a sentence with what it is given put in. */
export function t(name, ...given) {
  const found = WORDS[language][name];
  return typeof found === "function" ? found(...given) : found;
}

/** Say what the document's own elements say: data-t for text, data-t-label and data-t-placeholder for attributes. */
function apply() {
  document.documentElement.lang = LOCALES[language];
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.placeholder = t(element.dataset.tPlaceholder);
}

export const number = (value, digits = 0) => value.toLocaleString(LOCALES[language], { maximumFractionDigits: digits });
export const time = (seconds) => new Date(seconds * 1000).toLocaleString(LOCALES[language], { dateStyle: "short", timeStyle: "medium" });
export const languageName = (code) => new Intl.DisplayNames([LOCALES[language]], { type: "language" }).of(code);

/** Seconds as people say them: the two largest units. */
export function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const at = Math.max(0, units.findIndex(([, size]) => seconds >= size));
  if (seconds < 1) return `${number(seconds * 1000)} ms`;
  const parts = [];
  for (const [unit, size] of units.slice(at, at + 2)) {
    const count = Math.floor(seconds / size);
    if (count) parts.push(`${count} ${unit}`);
    seconds -= count * size;
  }
  return parts.join(" ");
}
