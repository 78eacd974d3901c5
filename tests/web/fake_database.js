// IndexedDB as far as idb-keyval asks it: databases by name, each with one store of values by key.

const answered = (result) => {
  const request = { result };
  queueMicrotask(() => request.onsuccess?.());
  return request;
};

function storeOf(values) {
  return {
    transaction: answered(undefined),
    put: (value, key) => values.set(key, structuredClone(value)),
    delete: (key) => values.delete(key),
    clear: () => values.clear(),
    getAll: () => answered([...values.values()]),
  };
}

/** Give this process an IndexedDB, or one that opens nothing, as in some private windows. */
export function openDatabases({ broken = false } = {}) {
  const databases = new Map();
  const open = (name) => {
    if (!databases.has(name)) databases.set(name, new Map());
    return answered({ transaction: () => ({ objectStore: () => storeOf(databases.get(name)) }) });
  };
  const refuse = () => {
    const request = { error: new Error("not allowed") };
    queueMicrotask(() => request.onerror());
    return request;
  };
  globalThis.indexedDB = { open: broken ? refuse : open };
}

/** A conversation as the history keeps it. */
export const conversation = (id, at) => ({ id, title: `Question ${id}`, at, turns: [], forgotten: false });
