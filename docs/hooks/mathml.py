"""TeX formulas as MathML, which every browser shows without a script: the part of TeX that the docstrings use."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "varepsilon": "ε", "eta": "η", "theta": "θ",
    "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "ϕ", "omega": "ω", "Delta": "Δ",
    "Sigma": "Σ", "Phi": "Φ", "Omega": "Ω", "ell": "ℓ", "partial": "∂", "top": "⊤", "emptyset": "∅", "infty": "∞",
    "nabla": "∇", "chi": "χ", "psi": "ψ", "zeta": "ζ", "kappa": "κ", "nu": "ν", "xi": "ξ", "varphi": "φ", "Gamma": "Γ",
    "Lambda": "Λ", "Theta": "Θ", "Pi": "Π", "ldots": "…", "dots": "…", "cdots": "⋯",
}  # fmt: skip
OPERATORS = {
    "times": "×", "cdot": "⋅", "otimes": "⊗", "odot": "⊙", "circ": "∘", "in": "∈", "notin": "∉", "le": "≤", "leq": "≤",
    "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "to": "→", "leftarrow": "←", "gets": "←", "Rightarrow": "⇒", "sim":
    "∼", "approx": "≈", "propto": "∝", "setminus": "∖", "cup": "∪", "cap": "∩", "subseteq": "⊆", "mid": "∣", "angle":
    "∠", "pm": "±", "forall": "∀", "exists": "∃", "equiv": "≡", "ast": "∗", "rightarrow": "→", "mapsto": "↦", "bmod":
    "mod",
}  # fmt: skip
FENCES = {
    "(": "(", ")": ")", "[": "[", "]": "]", "|": "|", "\\{": "{", "\\}": "}", "\\|": "‖", "\\Vert": "‖",
    "\\lVert": "‖", "\\rVert": "‖", "\\lvert": "|", "\\rvert": "|", "\\langle": "⟨", "\\rangle": "⟩",
    "\\lfloor": "⌊", "\\rfloor": "⌋", "\\lceil": "⌈", "\\rceil": "⌉", ".": "",
}  # fmt: skip
LARGE = {"sum": "∑", "prod": "∏", "bigotimes": "⨂", "bigoplus": "⨁", "bigcup": "⋃", "int": "∫"}
LIMITS = ("max", "min", "argmax", "argmin", "sup", "inf", "lim")
FUNCTIONS = ("log", "ln", "exp", "sin", "cos", "tan", "tanh", "arg", "det", "Pr")
SPACES = {",": 0.167, ":": 0.222, ";": 0.278, " ": 0.25, "quad": 1, "qquad": 2, "!": -0.167}
ACCENTS = {"bar": "¯", "hat": "^", "tilde": "~", "vec": "→", "dot": "˙", "overline": "¯", "widehat": "^"}
SIZES = {"big": 1.2, "bigl": 1.2, "bigr": 1.2, "Big": 1.8, "Bigl": 1.8, "Bigr": 1.8}
SCRIPT = dict(zip("BEFHILMRego", "ℬℰℱℋℐℒℳℛℯℊℴ", strict=True))
DOUBLE = dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True))
ENVIRONMENTS = {
    "cases": ("{", "left", ""),
    "aligned": ("", "right left", ""),
    "matrix": ("", "center", ""),
    "pmatrix": ("(", "center", ")"),
    "bmatrix": ("[", "center", "]"),
}
TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|\s+|.", re.DOTALL)


@dataclass
class Atom:
    """A piece of MathML, where its limits go (``scripts`` or ``limits``), and whether it is a function's name."""

    markup: str
    limits: bool = False
    function: bool = False


def mathml(tex: str, *, display: bool = False) -> str:
    r"""Gives the MathML of a formula.

    Args:
        tex: TeX, without dollars.
        display: On a line of its own.

    Raises:
        ValueError: A command is not known, or a brace is missing.

    Example:
        >>> mathml(r"\frac1n")
        '<math alttext="\\frac1n"><mfrac><mn>1</mn><mi>n</mi></mfrac></math>'
    """
    parser = _Parser(TOKEN.findall(tex.strip()), tex)
    rows = parser.rows(end=None)
    body = rows[0][0] if len(rows) == len(rows[0]) == 1 else _table(rows, "right left")
    block = ' display="block"' if display else ""
    return f'<math{block} alttext="{escape(tex.strip())}">{body}</math>'


def _table(rows: list[list[str]], align: str) -> str:
    cells = (
        "".join(f'<mtd style="text-align: {_side(align, i)}">{c}</mtd>' for i, c in enumerate(row)) for row in rows
    )
    return "<mtable>" + "".join(f"<mtr>{row}</mtr>" for row in cells) + "</mtable>"


def _side(align: str, column: int) -> str:
    sides = align.split()
    return sides[column % len(sides)]


def _operator(sign: str, **attributes: object) -> str:
    given = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<mo{given}>{escape(sign)}</mo>"


def _fence(token: str, **attributes: object) -> str:
    sign = FENCES.get(token, token)
    space = {"lspace": 0, "rspace": 0} if sign in "|‖" else {}
    return _operator(sign, **(attributes or {"stretchy": "false"}), **space) if sign else ""


def _row(markup: list[str]) -> str:
    return markup[0] if len(markup) == 1 else f"<mrow>{''.join(markup)}</mrow>"


def _space(width: float) -> str:
    return f'<mspace width="{width}em"></mspace>'


class _Parser:
    def __init__(self, tokens: list[str], source: str) -> None:
        self.tokens, self.at, self.source = tokens, 0, source

    def peek(self, *, spaces: bool = False) -> str | None:
        while not spaces and self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, *, spaces: bool = False) -> str:
        token = self.peek(spaces=spaces)
        if token is None:
            raise ValueError(f"a formula must be whole, got its end too early: {self.source}")
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        got = self.take()
        if got != token:
            raise ValueError(f"a formula must have {token} here, got {got}: {self.source}")

    def rows(self, end: str | None) -> list[list[str]]:
        """Rows of cells up to the token ``end``, which is taken."""
        rows: list[list[str]] = [[]]
        while True:
            rows[-1].append(self.sequence((end, "&", "\\\\")))
            token = self.peek()
            if token is not None:
                self.take()
            if token == end:
                return rows
            if token is None:
                raise ValueError(f"a formula must have {end} after what it opens, got its end: {self.source}")
            if token == "\\\\":
                rows.append([])

    def sequence(self, ends: tuple[str | None, ...]) -> str:
        found: list[str] = []
        while (token := self.peek()) is not None and token not in ends:
            atom = self.scripted(self.atom())
            found.append(atom.markup)
            if atom.function and self.peek() not in (None, "(", "[", *ends):
                found.append(_space(0.167))
        return _row(found)

    def scripted(self, atom: Atom) -> Atom:
        below = above = None
        while (token := self.peek()) in ("_", "^", "'"):
            self.take()
            if token == "_":
                below = self.argument()
            else:
                mark = "<mo>′</mo>" if token == "'" else self.argument()
                above = mark if above is None else f"<mrow>{above}{mark}</mrow>"
        if below is None and above is None:
            return atom
        scripts = [one for one in (below, above) if one is not None]
        names = ("munder", "mover", "munderover") if atom.limits else ("msub", "msup", "msubsup")
        name = names[2] if len(scripts) == 2 else names[0] if below is not None else names[1]
        return Atom(f"<{name}>{atom.markup}{''.join(scripts)}</{name}>", function=atom.function)

    def argument(self) -> str:
        """What a command is applied to: a group, or one sign."""
        token = self.take()
        if token == "{":
            return self.group()
        if token[0].isdigit() and len(token) > 1:
            self.at -= 1
            self.tokens[self.at] = token[1:]
            return f"<mn>{token[0]}</mn>"
        self.at -= 1
        return self.atom().markup

    def group(self) -> str:
        inner = self.sequence(("}",))
        self.expect("}")
        return inner

    def words(self) -> str:
        """The letters of an argument as they are written."""
        token = self.take()
        if token != "{":
            return token
        found = []
        while (token := self.take(spaces=True)) != "}":
            found.append(token)
        return "".join(found)

    def atom(self) -> Atom:
        token = self.take()
        if token == "{":
            return Atom(self.group())
        if token in FENCES and token != ".":
            return Atom(_fence(token))
        if token[0].isdigit():
            return Atom(f"<mn>{token}</mn>")
        if token[0] == "\\":
            return self.command(token[1:])
        if token.isalpha():
            return Atom(f"<mi>{token}</mi>")
        if token in "^_":
            self.at -= 1
            return Atom("<mrow></mrow>")
        if token in "}&":
            raise ValueError(f"a formula must not have {token} here: {self.source}")
        return Atom(_operator({"-": "−", "*": "∗"}.get(token, token)))

    def command(self, name: str) -> Atom:
        if name in LETTERS:
            return Atom(f"<mi>{LETTERS[name]}</mi>")
        if name in OPERATORS:
            return Atom(_operator(OPERATORS[name]))
        if name in LARGE:
            return Atom(_operator(LARGE[name]), limits=name != "int")
        if name in LIMITS:
            return Atom(_operator(name, movablelimits="true", form="prefix"), limits=True)
        if name in FUNCTIONS:
            return Atom(f"<mi>{name}</mi>", function=True)
        if name in SPACES:
            return Atom(_space(SPACES[name]))
        if name in SIZES:
            size = f"{SIZES[name]}em"
            return Atom(_fence(self.take(), minsize=size, maxsize=size))
        if name in ACCENTS:
            return Atom(f'<mover accent="true">{self.argument()}{_operator(ACCENTS[name], stretchy="false")}</mover>')
        if name in _COMMANDS:
            return _COMMANDS[name](self)
        raise ValueError(f"a formula must use commands that mathml.py knows, got \\{name}: {self.source}")

    def fraction(self) -> Atom:
        return Atom(f"<mfrac>{self.argument()}{self.argument()}</mfrac>")

    def root(self) -> Atom:
        return Atom(f"<msqrt>{self.argument()}</msqrt>")

    def text(self) -> Atom:
        return Atom(f"<mtext>{escape(self.words()).replace(' ', '&nbsp;')}</mtext>")

    def upright(self) -> Atom:
        word = self.words()
        style = ' mathvariant="normal"' if len(word) == 1 else ""
        return Atom(f"<mi{style}>{escape(word)}</mi>", function=len(word) > 1)

    def script(self) -> Atom:
        return Atom(f"<mi>{self.styled(SCRIPT, 0x1D49C, 0x1D4B6)}</mi>")

    def double(self) -> Atom:
        return Atom(f"<mi>{self.styled(DOUBLE, 0x1D538, 0x1D552)}</mi>")

    def styled(self, given: dict[str, str], upper: int, lower: int) -> str:
        def one(letter: str) -> str:
            return given.get(letter) or chr(upper + ord(letter) - 65 if letter.isupper() else lower + ord(letter) - 97)

        return "".join(one(letter) for letter in self.words())

    def stretched(self) -> Atom:
        left = _fence(self.take(), stretchy="true")
        inner = self.sequence(("\\right",))
        self.expect("\\right")
        return Atom(f"<mrow>{left}{inner}{_fence(self.take(), stretchy='true')}</mrow>")

    def environment(self) -> Atom:
        name = self.words()
        if name not in ENVIRONMENTS:
            raise ValueError(f"a formula must use one of {', '.join(ENVIRONMENTS)}, got {name}: {self.source}")
        rows = self.rows(end="\\end")
        self.words()
        opened, align, closed = ENVIRONMENTS[name]
        sides = [_operator(sign, stretchy="true") if sign else "" for sign in (opened, closed)]
        return Atom(f"<mrow>{sides[0]}{_table(rows, align)}{sides[1]}</mrow>")

    def nothing(self) -> Atom:
        return Atom("")


_COMMANDS: dict[str, Callable[[_Parser], Atom]] = {
    "frac": _Parser.fraction,
    "tfrac": _Parser.fraction,
    "dfrac": _Parser.fraction,
    "sqrt": _Parser.root,
    "text": _Parser.text,
    "mathrm": _Parser.upright,
    "operatorname": _Parser.upright,
    "mathcal": _Parser.script,
    "mathbb": _Parser.double,
    "left": _Parser.stretched,
    "begin": _Parser.environment,
    "textstyle": _Parser.nothing,
    "displaystyle": _Parser.nothing,
}
