"""The embedded training set: procedural heads, drawn on the spot.

`rendering` draws one picture of explicit factors: `render(person, pose, scene)`. `head` says who, `scene` how they are
seen, `poses` which way they look, `write` puts them on disk in 300W-LP's layout, `sheet` shows them. `mesh` is all that
`head` and `scene` know of each other.
"""
