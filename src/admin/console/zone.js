// Fills in the time zone of this browser. Without it the field is empty, and times are UTC.
"use strict";

for (const field of document.querySelectorAll("[data-zone]")) {
  if (!field.value) field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
}
