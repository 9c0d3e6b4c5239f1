// What the console's server tells, and what it is asked to do.

// All that there is, by name: "workspace", "service", "views", "message <ts>", "call <number>".
export const parts = new Map();

// This page, among those that the same person may have open.
export const client = crypto.randomUUID();

export function valuesOf(kind) {
  return [...parts].filter(([key]) => key.startsWith(`${kind} `)).map(([, value]) => value);
}

// Keep `parts` true, and say after each change which of them are new.
export function follow(changed, ended) {
  const news = new EventSource("/news");
  news.onmessage = ({ data }) => {
    const fresh = Object.entries(JSON.parse(data));
    for (const [key, value] of fresh) parts.set(key, value);
    changed(new Set(fresh.map(([key]) => key)));
  };
  news.onerror = () => {
    news.close();
    ended();
  };
}

// Gives {status} where the app was told of it, {said} where something is not possible, {note} beside what was done,
// {options} of a menu.
export async function act(name, body) {
  try {
    const response = await fetch(`/do/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return response.ok || response.status === 404 ? await response.json() : { status: 0 };
  } catch {
    return { status: 0 };
  }
}

// What was sent and answered in a call.
export async function bodies(number) {
  const response = await fetch(`/call/${number}`);
  return response.ok ? response.json() : { sent: "(no longer known)", answered: "" };
}

// What a person reads when the app didn't take what was done; "" where it did.
export function trouble({ status, said }) {
  if (said) return said;
  return status === undefined || status === 200 ? "" : "⚠️ The app didn't respond. Try again.";
}
