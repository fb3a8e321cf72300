// Screens that few open at once come when they are opened.

import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { Problem, Spinner } from "./components";

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let loaded: ComponentType<P> | null = null;
  return function Lazy(props: P): JSX.Element {
    const [Screen, setScreen] = useState<ComponentType<P> | null>(() => loaded);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (Screen !== null || failed) return;
      load().then(
        (component) => {
          loaded = component;
          setScreen(() => component);
        },
        () => setFailed(true),
      );
    }, [Screen, failed]);
    if (Screen !== null) return <Screen {...props} />;
    if (failed) return <Problem text={t("error_network")} onRetry={() => setFailed(false)} />;
    return <Spinner label={t("loading")} />;
  };
}
