// "Why can't I be heard?": the connection check on the screen, in plain words, with what to do about each failure.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { check, type Finding, type Reason, reportOf, STEPS, type StepName, untried } from "../../call/check";
import { choices } from "../../call/choices";
import { type Key, t } from "../../i18n";
import { currentCall, PROBLEMS } from "../../state/call";
import { api, serverConfig, session } from "../../state/session";
import { report, toast } from "../../state/toasts";
import { Dialog } from "../../ui/components";
import { Icon, type IconName } from "../../ui/icons";

const NAMES: Record<StepName, Key> = {
  microphone: "check_microphone",
  camera: "check_camera",
  server: "check_server",
  socket: "check_socket",
  stun: "check_stun",
  udp: "check_udp",
  tcp: "check_tcp",
  tls: "check_tls",
};

/** What to do, where that depends on what was tried. */
const ADVICE: Partial<Record<StepName, Key>> = {
  server: "advice_server",
  socket: "advice_socket",
  stun: "advice_stun",
  udp: "advice_udp",
  tcp: "advice_tcp",
  tls: "advice_tls",
};

const REASONS: Partial<Record<Reason, Key>> = {
  silent: "advice_silent",
  unmeasured: "advice_unmeasured",
  muted: "advice_muted",
  refused: "advice_refused",
  not_offered: "check_not_offered",
  no_credentials: "check_no_credentials",
};

function wordsOf(step: StepName, finding: Finding): string | null {
  if (!("reason" in finding)) return null;
  const { reason } = finding;
  if (step === "microphone" && reason in PROBLEMS) return t(PROBLEMS[reason as keyof typeof PROBLEMS].audio);
  if (step === "camera" && reason in PROBLEMS) return t(PROBLEMS[reason as keyof typeof PROBLEMS].video);
  const key = REASONS[reason] ?? ADVICE[step];
  return key === undefined ? null : t(key);
}

const SIGNS: Record<Finding["state"], { icon: IconName; key: Key }> = {
  waiting: { icon: "more", key: "check_waiting" },
  running: { icon: "more", key: "check_running" },
  good: { icon: "check", key: "check_good" },
  doubtful: { icon: "alert", key: "check_doubtful" },
  failed: { icon: "close", key: "check_failed" },
  skipped: { icon: "minus", key: "check_skipped" },
};

export function CheckDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const findings = useSignal(untried());
  const running = useSignal(false);
  const ending = useRef(new AbortController());

  async function run(): Promise<void> {
    const token = session.peek()?.token;
    if (token === undefined || running.peek()) return;
    const { microphone, camera, noiseSuppression } = choices.peek();
    findings.value = untried();
    running.value = true;
    await check(
      {
        media: currentCall.peek()?.call.media ?? null,
        wish: { microphone, camera, noiseSuppression },
        token,
        credentials: api.turnCredentials,
        onFinding: (step, finding) => {
          findings.value = { ...findings.peek(), [step]: finding };
        },
      },
      ending.current.signal,
    ).catch(report);
    running.value = false;
  }

  useEffect(() => {
    void run();
    return () => ending.current.abort();
  }, []);

  const verdict = verdictOf(Object.values(findings.value), running.value);
  return (
    <Dialog title={t("check_title")} onClose={onClose} broad>
      <p role="status" class={`notice ${verdict.tone}`}>
        {t(verdict.key)}
      </p>
      <ol class="check-steps">
        {STEPS.map((step) => (
          <Step key={step} step={step} finding={findings.value[step]} />
        ))}
      </ol>
      {!running.value && <Report findings={findings.value} onAgain={() => void run()} />}
    </Dialog>
  );
}

function verdictOf(findings: Finding[], running: boolean): { key: Key; tone: string } {
  const some = (state: Finding["state"]) => findings.some((finding) => finding.state === state);
  if (running) return { key: "check_verdict_running", tone: "" };
  if (some("failed")) return { key: "check_verdict_failed", tone: "bad" };
  if (some("doubtful")) return { key: "check_verdict_doubtful", tone: "warn" };
  return { key: "check_verdict_good", tone: "good" };
}

function Step({ step, finding }: { step: StepName; finding: Finding }): JSX.Element {
  const words = wordsOf(step, finding);
  const { icon, key } = SIGNS[finding.state];
  return (
    <li class={finding.state} data-step={step}>
      <span class="check-sign" title={t(key)}>
        {finding.state === "running" ? (
          <span class="spinner-ring" aria-hidden="true" />
        ) : (
          <Icon name={icon} />
        )}
        <span class="visually-hidden">{t(key)}</span>
      </span>
      <span class="check-words">
        <span>{t(NAMES[step])}</span>
        {words !== null && <span class="hint">{words}</span>}
      </span>
      {"ms" in finding && (
        <span class="check-time">{t("milliseconds", { value: Math.round(finding.ms) })}</span>
      )}
    </li>
  );
}

function Report(props: { findings: ReturnType<typeof untried>; onAgain: () => void }): JSX.Element {
  const text = reportOf(props.findings, {
    site: location.origin,
    version: serverConfig.value?.version ?? "",
    browser: navigator.userAgent,
    at: new Date(),
  });
  const field = useRef<HTMLTextAreaElement>(null);

  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      toast(t("copied"));
    } catch {
      field.current?.select();
      toast(t("copy_by_hand"));
    }
  }

  const mail = `mailto:?subject=${encodeURIComponent(t("report_subject"))}&body=${encodeURIComponent(text)}`;
  return (
    <>
      <details class="check-report">
        <summary>{t("report_show")}</summary>
        <textarea ref={field} class="input" readOnly rows={12} value={text} aria-label={t("report_label")} />
      </details>
      <div class="dialog-actions stretched">
        <button type="button" class="button quiet" onClick={props.onAgain}>
          {t("check_again")}
        </button>
        <a class="button" href={mail}>
          {t("report_mail")}
        </a>
        <button type="button" class="button primary" onClick={() => copy().catch(report)}>
          <Icon name="copy" />
          {t("report_copy")}
        </button>
      </div>
      <p class="hint">{t("report_hint")}</p>
    </>
  );
}
