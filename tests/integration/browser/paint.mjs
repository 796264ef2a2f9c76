// What the browser tests ask a page of its painting.

/** When a page that has loaded was first painted, in milliseconds since the browser set out for it. */
export const painted = (page) =>
  page.evaluate(
    () =>
      new Promise((resolve) =>
        new PerformanceObserver((list) => list.getEntriesByName("first-contentful-paint").forEach((paint) => resolve(paint.startTime))).observe({
          type: "paint",
          buffered: true,
        }),
      ),
  );
