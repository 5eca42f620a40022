# From sorted lines of stacks and counts to an SVG: a box a function, as wide as the time spent in it and what it calls.

BEGIN { WIDTH = 1200; ROW = 16; SLIGHT = 0.001 }

{
    count = $NF
    sub(/ [0-9]+$/, "")
    lines++
    text[lines] = $0
    number[lines] = count
    total += count
}

function close_from(level, at,    i) {
    for (i = open; i >= level; i--) {
        if (at - begin[i] >= total * SLIGHT) {
            boxes++
            box_name[boxes] = name[i]
            box_level[boxes] = i
            box_from[boxes] = begin[i]
            box_to[boxes] = at
            if (i > deepest) deepest = i
        }
    }
    open = level - 1
}

# The same function has the same colour everywhere; kernel, database code and ours differ in kind.
function colour(name,    hash, i, shade) {
    hash = 0
    for (i = 1; i <= length(name); i++) hash = (hash * 31 + index("abcdefghijklmnopqrstuvwxyz_:", tolower(substr(name, i, 1)))) % 997
    shade = hash % 40
    if (name ~ /mayfly/) return sprintf("rgb(%d,%d,%d)", 120 + shade, 190 + shade, 120 + shade)
    if (name ~ /^(sqlite3|rusqlite|unix|wal)/) return sprintf("rgb(%d,%d,%d)", 130 + shade, 170 + shade, 215)
    if (name ~ /::/) return sprintf("rgb(%d,%d,%d)", 235, 190 + shade, 120 + shade)
    return sprintf("rgb(%d,%d,%d)", 205 + shade, 205 + shade, 205 + shade)
}

END {
    at = 0
    for (line = 1; line <= lines; line++) {
        parts = split(text[line], frames, ";")
        same = 0
        while (same < parts && same < open && frames[same + 1] == name[same + 1]) same++
        close_from(same + 1, at)
        for (i = same + 1; i <= parts; i++) {
            name[i] = frames[i]
            begin[i] = at
        }
        open = parts
        at += number[line]
    }
    close_from(1, at)
    height = (deepest + 3) * ROW
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"11\">\n", WIDTH, height
    printf "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"4\" y=\"14\" font-size=\"13\">%s (%d samples)</text>\n", title, total
    for (b = 1; b <= boxes; b++) {
        x = box_from[b] / total * WIDTH
        w = (box_to[b] - box_from[b]) / total * WIDTH
        y = height - (box_level[b] + 1) * ROW
        share = (box_to[b] - box_from[b]) / total * 100
        printf "<g><title>%s: %.1f %%</title><rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\" stroke=\"#fff\" stroke-width=\".4\"/>", box_name[b], share, x, y, w, ROW - 1, colour(box_name[b])
        letters = int((w - 4) / 5.9)
        if (letters >= 3) {
            shown = box_name[b]
            gsub(/::\{\}/, "", shown)
            if (length(shown) > letters) {
                # The end of a path says most.
                tail = shown
                while (length(tail) > letters && index(tail, "::") > 0) tail = substr(tail, index(tail, "::") + 2)
                shown = substr(tail, 1, letters)
            }
            printf "<text x=\"%.1f\" y=\"%d\">%s</text>", x + 2, y + 12, shown
        }
        print "</g>"
    }
    print "</svg>"
}
