"""From predictions to what people read.

Three files, one question each: `tables` (what are the figures?), `pictures` (what do they look like?) and `page`
(how do they become one `report.html`?). They need a table of predictions and nothing that trains.
"""
