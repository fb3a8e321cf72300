// The clipboard, where the browser gives it to the page.

import { t } from "../i18n";
import { toast } from "../state/toasts";

/** Pages that came over plain HTTP have no clipboard; there `field` is marked for the user to copy. */
export async function copyText(text: string, field?: HTMLInputElement | null): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("copied"));
  } catch {
    field?.select();
    toast(t(field ? "copy_by_hand" : "copy_impossible"));
  }
}
