"""Writes handbook/buying-guide.pdf (needs reportlab). The PDF is shipped; run this after changing the text."""

from pathlib import Path

from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer

PAGES = [
    (
        "Buying guide for second-hand vinyl",
        "This guide is for staff who buy records from the public in the Edmonton store.",
        "Before an offer is made, the seller shows an identity card, and the purchase is written into the blue ledger.",
        "Records that were stolen from libraries carry a stamp on the inner sleeve. They are never bought.",
    ),
    (
        "Grading",
        "We grade on the Goldmine scale. Mint means never played. Near Mint means played, without any visible mark.",
        "Very Good Plus allows faint paper scuffs that cannot be heard. Good means that surface noise is audible throughout.",
        "A record below Good is not bought, except first pressings made before 1965.",
    ),
    (
        "Prices",
        "We pay 40 percent of the shelf price for Near Mint, 30 percent for Very Good Plus, and 15 percent for Good.",
        "For box sets that miss their booklet, the offer is cut by half.",
        "A purchase above 500 dollars needs the signature of the store manager and a second grader.",
    ),
    (
        "Cleaning",
        "Every record is washed in the ultrasonic bath for six minutes at 35 degrees Celsius, and dried upright.",
        "Shellac records must never touch alcohol, because alcohol dissolves shellac. They are wiped with distilled water.",
        "After cleaning, each record gets a new antistatic inner sleeve.",
    ),
]


def main() -> None:
    styles = getSampleStyleSheet()
    story: list[object] = []
    for heading, *paragraphs in PAGES:
        story.append(Paragraph(heading, styles["Heading1"]))
        for paragraph in paragraphs:
            story += [Paragraph(paragraph, styles["BodyText"]), Spacer(1, 6)]
        story.append(PageBreak())
    target = Path(__file__).parent / "handbook" / "buying-guide.pdf"
    SimpleDocTemplate(str(target), pagesize=A5, title="Buying guide", invariant=1).build(story[:-1])


if __name__ == "__main__":
    main()
