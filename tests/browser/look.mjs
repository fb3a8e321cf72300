// How a screen looks: pictures of it, wide and narrow, into `target/screenshots/`.

export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 360, height: 740 };

export async function pictures(person, screen) {
  for (const [name, size] of [
    ["wide", WIDE],
    ["narrow", NARROW],
  ]) {
    await person.page.setViewportSize(size);
    await person.page.mouse.move(0, 0);
    await person.page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
    await person.screenshot(`${screen}-${name}`);
  }
  await person.page.setViewportSize(WIDE);
}
