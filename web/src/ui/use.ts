// Asking the server from a screen: what came, what went wrong, and asking again.

import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api/client";
import { explain } from "../state/toasts";

export interface Asked<T> {
  data: T | null;
  problem: string | null;
  reload: () => void;
  /** Puts another answer in place of the one that came. */
  set: (data: T) => void;
}

/** Asks at once, and again whenever one of `by` changes; an answer that comes after another question is left. */
export function useAsked<T>(ask: () => Promise<T>, by: readonly unknown[]): Asked<T> {
  const [data, setData] = useState<T | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let left = false;
    setProblem(null);
    ask().then(
      (answer) => !left && setData(answer),
      (error) => !left && setProblem(explain(error)),
    );
    return () => {
      left = true;
    };
  }, [...by, turn]);
  return { data, problem, reload: () => setTurn((now) => now + 1), set: setData };
}

export type Problems = Record<string, string | undefined>;

/** A form that is on its way at most once, and whose problems stand at their fields, or else above it (`form`). */
export function useForm(fields: readonly string[]): {
  busy: boolean;
  problems: Problems;
  clear: (field?: string) => void;
  fail: (problems: Problems) => void;
  submit: (work: () => Promise<void>) => Promise<boolean>;
} {
  const [busy, setBusy] = useState(false);
  const running = useRef(false);
  const [problems, setProblems] = useState<Problems>({});
  return {
    busy,
    problems,
    clear: (field) =>
      setProblems(field === undefined ? {} : { ...problems, [field]: undefined, form: undefined }),
    fail: setProblems,
    submit: async (work) => {
      if (running.current) return false;
      running.current = true;
      setBusy(true);
      setProblems({});
      try {
        await work();
        return true;
      } catch (error) {
        setProblems(problemsOf(error, fields));
        return false;
      } finally {
        running.current = false;
        setBusy(false);
      }
    },
  };
}

/** Each message at its field; what belongs to no field that is shown stands above the form. */
export function problemsOf(error: unknown, shown: readonly string[]): Problems {
  if (!(error instanceof ApiError) || Object.keys(error.fields).length === 0) return { form: explain(error) };
  const problems: Problems = {};
  for (const [name, message] of Object.entries(error.fields)) {
    const at = shown.includes(name) ? name : "form";
    problems[at] = [problems[at], message].filter(Boolean).join(" ");
  }
  return problems;
}
