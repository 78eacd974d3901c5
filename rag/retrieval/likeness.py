"""What a cosine of an embedder means: each model has its own scale, and each language its own on it.

Models spread their cosines differently (MiniLM's unrelated texts lie at 0.1, e5's at 0.75), and one that was not
trained for a language gives related and unrelated texts the same. Both are measured once, on known pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rag.ports import Embedder

# Questions with the sentence that answers each; across pairs they have nothing to do with one another.
PAIRS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        (
            "Who painted the ceiling of the chapel?",
            "The frescoes overhead are the work of Michelangelo.",
        ),
        ("When can I return a broken lamp?", "Damaged goods are taken back within thirty days of purchase."),
        (
            "What is the phone number of Maria Lopez?",
            "Customer; Name: Maria Lopez; Phone: +34 91 555 0187",
        ),
        ("How do plants make sugar?", "Photosynthesis turns light, water and carbon dioxide into glucose."),
        ("Which team won the cup last year?", "The final was decided by a late goal, and Ajax took home the trophy."),
        (
            "How do I reset my password?",
            "Choose 'Forgotten password' on the sign-in page and open the link we mail.",
        ),
        ("What does invoice 4711 amount to?", "Invoice; Number: 4711; Total: 128.50; Currency: EUR"),
        ("Why did the bridge collapse?", "Investigators found that corroded cables had failed under the load."),
    ),
    "zh": (
        ("谁写了《红楼梦》？", "曹雪芹是清代小说家，著有长篇小说《红楼梦》。"),
        ("员工每年有几天年假？", "入职满一年后，每位员工享有十天带薪休假。"),
        ("故宫的开放时间是什么？", "名称：故宫博物院；开放时间：周二至周日 8:30-17:00"),
        ("怎么申请发票？", "在订单页面点击开具发票，填写抬头和税号即可。"),
        ("客户王芳的电话是多少？", "客户；姓名：王芳；电话：138-0000-1234；城市：成都"),
        ("糖尿病有哪些症状？", "常见表现为多饮、多尿、多食和体重下降。"),
        ("这台洗衣机多重？", "产品：滚筒洗衣机；净重：68 公斤；颜色：白色"),
        ("列车为什么晚点？", "受暴雨影响，部分线路限速运行，到站时间推迟。"),
    ),
    "": (
        ("Wie lange habe ich Garantie?", "Der Hersteller repariert Mängel kostenlos innerhalb von zwei Jahren."),
        ("Où se trouve la mairie ?", "L'hôtel de ville est situé place du Marché, en face de l'église."),
        ("¿Quién dirige el departamento de ventas?", "Empleado; Nombre: Ana Ruiz; Cargo: directora comercial"),
        ("会議は何時に始まりますか？", "定例ミーティングは毎週月曜の午前十時開始です。"),
        ("Сколько стоит билет?", "Цена проезда в автобусе составляет сорок рублей."),
        ("Quali piatti sono vegetariani?", "Nel menù senza carne ci sono la parmigiana e gli gnocchi al pomodoro."),
    ),
}
_APART = 2.0  # standard deviations between related and unrelated pairs, below which a cosine says nothing
_FLOOR, _TOP = 0.9, 0.75  # quantiles; chosen with benchmarks/refusal.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Where a language's unrelated texts end (floor) and related ones lie (top); equal when cosines say nothing."""

    floor: float
    top: float

    def likeness(self, cosine: float) -> float:
        """0 for unrelated texts, 1 for what answers the question in other words."""
        return min(max((cosine - self.floor) / (self.top - self.floor), 0.0), 1.0) if self.counts else 0.0

    @property
    def counts(self) -> bool:
        return self.top > self.floor


NO_SCALE = Scale(floor=0.0, top=0.0)
Likeness = Mapping[str, Scale]


def measure_likeness(embedder: Embedder) -> Likeness:
    """The scale of each language in PAIRS; "" stands for all others. Costs about 0.1 s with the bundled model."""
    questions = [question for pairs in PAIRS.values() for question, _ in pairs]
    answers = [answer for pairs in PAIRS.values() for _, answer in pairs]
    cosines = embedder.embed(questions, query=True) @ embedder.embed(answers).T
    scales: dict[str, Scale] = {}
    start = 0
    for language, pairs in PAIRS.items():
        own = cosines[start : start + len(pairs), start : start + len(pairs)]
        start += len(pairs)
        scales[language] = _scale(np.diag(own), own[~np.eye(len(pairs), dtype=bool)])
    return scales


def _scale(related: np.ndarray, unrelated: np.ndarray) -> Scale:
    spread = float(np.sqrt((related.var() + unrelated.var()) / 2))
    if related.mean() - unrelated.mean() < _APART * max(spread, 1e-9):
        return NO_SCALE
    return Scale(floor=float(np.quantile(unrelated, _FLOOR)), top=float(np.quantile(related, _TOP)))


def scale_for(likeness: Likeness, language: str) -> Scale:
    """The scale of a question's language."""
    return likeness.get(language) or likeness.get("") or NO_SCALE
