"""Every food by its label: rigid pieces or heaps, with the sizes of the evaluation scenes' foods."""

from . import fruit as F
from . import slabs as S
from .fruit import Piece, ball, egg_end, power_end, rod
from .piled import HEAPS
from .slabs import box, disc, half, segments, seedy

PIECES = {
    "apple": F.apple,
    "orange": ball((3.4, 3.75), (6.7, 7.4), [((226, 130, 36), (210, 112, 30))], 0.35, 0.015, 0.3, 0.01),
    "peach": ball((3.2, 3.7), (6.1, 7.1), [((220, 160, 70), (176, 50, 44)), ((210, 120, 60), (160, 40, 44))], 0.05, lob=0.02, amount=1.0, scale=4.0),
    "plum": ball((2.1, 2.8), (4.0, 5.2), [((84, 36, 60), (60, 30, 60)), ((120, 40, 50), (90, 34, 50))], 0.25, amount=0.8),
    "tomato": ball((2.8, 4.1), (4.9, 6.6), [(190, 44, 30), (204, 60, 36)], 0.8, lob=0.04, amount=0.2, finish=F.calyx),
    "cherry tomatoes": ball((1.25, 1.5), (2.6, 3.1), [(196, 44, 32), (206, 60, 36), (214, 150, 40)], 0.8, amount=0.2, count=(2, 8)),
    "grapes": ball((0.95, 1.2), (2.0, 2.5), [((140, 166, 70), (160, 180, 90)), ((70, 36, 50), (50, 28, 44)), ((92, 56, 104), (70, 44, 84))], 0.4, amount=0.8, count=(5, 12), spread=2.5),
    "grape": ball((0.95, 1.2), (2.0, 2.5), [((140, 166, 70), (160, 180, 90)), ((70, 36, 50), (50, 28, 44))], 0.4, amount=0.8, count=(5, 12), spread=2.0),
    "litchi": ball((1.5, 1.8), (3.0, 3.5), [((150, 60, 54), (120, 50, 44)), ((170, 90, 70), (130, 60, 50))], 0.1, 0.08, 0.35, amount=0.9, count=(1, 4)),
    "meatballs": ball((1.4, 1.9), (2.8, 3.5), [((100, 66, 50), (76, 48, 40)), ((120, 80, 60), (90, 60, 46))], 0.3, 0.08, 0.6, 0.04, amount=0.8, count=(1, 7)),
    "falafel": ball((1.6, 1.95), (2.9, 3.4), [((96, 66, 36), (70, 48, 28)), ((110, 78, 44), (84, 58, 34))], 0.05, 0.1, 0.4, 0.04, amount=0.8, count=(4, 6)),
    "bread roll": ball((4.2, 5.0), (4.2, 5.5), [((176, 112, 54), (150, 88, 40)), ((190, 130, 66), (164, 100, 48))], 0.3, lob=0.03, equator=0.3, finish=F.seeds),
    "bun": ball((4.2, 5.2), (4.0, 5.5), [((176, 112, 54), (150, 88, 40)), ((206, 160, 100), (180, 120, 66))], 0.3, lob=0.03, equator=0.3, finish=F.seeds),
    "egg": rod((5.2, 6.0), (2.1, 2.25), [((222, 214, 204), (214, 206, 196)), ((196, 140, 104), (184, 124, 90))], egg_end(0.12), rest=0.8, amount=0.3, count=(1, 2)),
    "lemon": rod((6.4, 8.0), (2.5, 2.9), [((222, 190, 50), (206, 176, 46))], F.lemon_profile, gloss=0.3, bump=0.015, bump_scale=0.3),
    "kiwi whole": rod((5.8, 6.8), (2.3, 2.6), [((110, 96, 60), (90, 80, 48))], power_end(2), amount=0.8, grain=0.1),
    "mango": rod((8.0, 11.0), (3.0, 3.8), [((226, 176, 60), (200, 110, 50)), ((150, 160, 60), (206, 160, 60))], egg_end(0.15), amount=0.8, scale=4.0, gloss=0.25),
    "pear lying": rod((9.5, 11.5), (3.4, 3.9), [((150, 150, 60), (136, 134, 56)), ((176, 130, 66), (160, 110, 56))], F.pear_profile, gloss=0.2, finish=F.pear_look, scale=3.0),
    "banana": rod((13.5, 18), (1.65, 2.0), [((220, 190, 60), (206, 176, 54)), ((190, 160, 50), (176, 150, 50))], F.banana_profile, bend=(0.05, 0.10), gloss=0.15, finish=F.banana_look, amount=0.4),
    "potato": rod((6.2, 8.5), (2.3, 3.1), [((196, 160, 100), (176, 140, 84)), ((166, 130, 84), (140, 108, 70)), ((206, 200, 150), (184, 170, 110))], power_end(2.3), bump=0.1, bump_scale=2.0, finish=F.potato_flat, squash=0.92),
    "sweet potato": rod((10, 14), (2.2, 2.8), [((220, 116, 40), (200, 100, 36)), ((146, 84, 66), (126, 70, 56)), ((120, 70, 50), (104, 60, 46))], power_end(1.4), bump=0.09, bump_scale=1.4, finish=F.sweet_cut),
    "sausage": rod((8.5, 13.5), (1.25, 1.6), [((166, 80, 60), (140, 66, 50)), ((150, 92, 54), (130, 76, 44)), ((130, 56, 44), (106, 46, 38))], power_end(8), bend=(-0.05, 0.06), gloss=0.5, finish=F.sausage_look, count=(1, 4)),
    "croissant": rod((12, 15.5), (2.6, 3.1), [((164, 100, 46), (140, 80, 36)), ((130, 76, 36), (110, 60, 30))], F.croissant_profile, bend=(0.06, 0.12), gloss=0.3, finish=F.croissant_look),
    "corn on the cob": rod((8, 15), (2.1, 2.5), [((226, 184, 54), (206, 164, 44)), ((214, 196, 80), (200, 176, 66))], power_end(10), gloss=0.5, finish=F.corn_look, amount=0.4),
    "chicken drumstick": rod((11, 13.5), (2.7, 3.2), [((146, 86, 50), (110, 60, 40)), ((124, 70, 50), (96, 52, 40))], F.drum_profile, gloss=0.5, finish=F.drum_look, count=(1, 2), amount=0.8, rest=0.75),
    "strawberries": rod((3.0, 4.1), (1.3, 1.65), [((184, 36, 32), (164, 28, 28)), ((206, 56, 44), (176, 36, 32))], egg_end(-0.3), gloss=0.5, finish=F.strawberry_look, count=(3, 7), rest=0.6),
    "fried dough twist": rod((13, 17), (1.6, 2.1), [((160, 96, 44), (130, 74, 36))], F.croissant_profile, gloss=0.3, finish=F.croissant_look),
    "kiwi": half((5.0, 5.8), (4.6, 5.2), (2.6, 3.4), [(126, 156, 50), (140, 166, 60)], [(110, 88, 54)], gloss=0.4, count=(1, 2), centre=S.kiwi_face),
    "avocado half": half((9.0, 11.0), (5.8, 6.8), (2.6, 3.2), [(214, 206, 130), (206, 200, 116)], [(60, 76, 34), (50, 54, 34)], pit=(0.44, (110, 70, 44)), taper=-0.3, centre=S.avocado_face, count=(1, 2)),
    "boiled egg half": half((5.3, 5.9), (4.1, 4.5), (1.9, 2.2), [(236, 230, 220)], [(230, 224, 214)], taper=-0.12, gloss=0.3, centre=S.yolk, count=(1, 4), tilt=0.15),
    "carrot slices": disc((0.95, 1.45), (0.65, 0.85), [(222, 130, 60), (214, 120, 50)], [(206, 108, 40)], count=(2, 10), power=0.12, pattern=segments((6, 9), None, (230, 156, 84), 0.3, 0.97)),
    "cucumber slices": disc((1.7, 2.2), (0.4, 0.55), [(176, 196, 130), (190, 206, 146)], [(60, 104, 50)], count=(1, 5), power=0.12, pattern=seedy((3, 3), (160, 190, 110), (210, 220, 170))),
    "tomato slices": disc((2.6, 3.4), (0.6, 0.8), [(200, 80, 50), (190, 60, 42)], [(180, 40, 30)], count=(1, 2), power=0.15, gloss=0.5, pattern=seedy((3, 6), (206, 120, 60), (226, 180, 100)), bump=0.02),
    "orange slices": disc((3.2, 3.9), (0.8, 1.0), [(226, 150, 50), (216, 130, 46)], [(220, 120, 30)], count=(1, 3), power=0.1, pattern=segments((9, 12), None), gloss=0.4),
    "cookie": disc((3.0, 4.1), (1.0, 1.4), [(176, 116, 60), (110, 70, 50), (196, 130, 60)], power=0.3, lob=0.03, count=(1, 3), pattern=S.chips, bump=0.05),
    "mooncake": disc((3.0, 4.0), (2.5, 3.2), [(166, 96, 44), (150, 84, 40)], power=0.12, pattern=segments((6, 10), None, (190, 120, 60), 0.35, 0.85), bump=0.05),
    "sushi rolls": disc((1.4, 1.8), (2.3, 2.9), [(226, 224, 218)], [(36, 44, 38)], rim=0.2, power=0.1, count=(3, 5), pattern=S.sushi_face, spread=2.5, bump=0.02),
    "burger patty": disc((4.5, 5.3), (1.7, 2.2), [(100, 66, 52), (84, 56, 48), (70, 54, 48)], power=0.3, lob=0.03, count=(1, 2), bump=0.09, gloss=0.3),
    "chicken nuggets": box((3.4, 4.8), (2.8, 3.6), (1.5, 2.0), [((190, 136, 66), (160, 106, 48)), ((176, 120, 56), (150, 96, 44))], 0.7, bump=0.08, bump_scale=0.5, count=(1, 5), blob=0.08, dome=0.3),
    "breaded cutlet": box((13.5, 17), (9, 11.5), (1.3, 1.95), [((206, 136, 50), (186, 116, 42)), ((190, 120, 46), (166, 100, 40))], 0.5, bump=0.09, bump_scale=0.7, blob=0.12),
    "chicken breast": box((13, 15.5), (7, 8.5), (2.4, 3.0), [((196, 152, 104), (170, 120, 76)), ((184, 140, 96), (156, 110, 72))], 0.8, bump=0.06, blob=0.07, dome=0.45, finish=S.grill, gloss=0.3),
    "steak": box((12, 14.5), (8.5, 11), (1.6, 2.3), [((120, 76, 58), (90, 56, 46)), ((104, 66, 54), (80, 52, 44))], 0.4, bump=0.08, blob=0.14, finish=S.grill, gloss=0.4, side=[(150, 100, 80), (110, 66, 54)]),
    "salmon fillet": box((10, 13), (6, 7.5), (2.1, 2.7), [((214, 130, 94), (200, 116, 84)), ((226, 146, 110), (210, 130, 96))], 0.6, bump=0.04, blob=0.06, dome=0.3, finish=S.salmon, gloss=0.4),
    "omelette": box((14, 17), (7.0, 8.5), (2.2, 2.7), [((228, 186, 84), (206, 150, 60)), ((232, 200, 110), (216, 170, 70))], 0.9, bump=0.1, bump_scale=1.6, blob=0.1, dome=0.4),
    "brownie": box((5.0, 6.2), (4.8, 5.6), (2.5, 3.3), [((96, 66, 54), (74, 50, 42)), ((110, 74, 60), (84, 56, 48))], 0.2, bump=0.07, bump_scale=0.6, count=(1, 2), side=[(70, 44, 36), (84, 50, 40)]),
    "cheese": box((5.5, 7.0), (3.6, 4.6), (2.4, 3.6), [(222, 190, 96), (214, 196, 140), (226, 160, 60), (222, 214, 180)], 0.1, bump=0.02, gloss=0.25),
    "tofu": box((2.2, 2.8), (2.2, 2.7), (2.1, 2.7), [(222, 214, 200), (228, 226, 220), (206, 186, 150)], 0.15, bump=0.03, count=(2, 6), gloss=0.2, spread=2.5),
    "sachima": box((6, 7.5), (4, 5), (2.4, 3.2), [((206, 160, 80), (180, 130, 60))], 0.3, bump=0.16, bump_scale=0.6, gloss=0.4),
    "bread": box((7, 11), (6, 8), (3.0, 5.0), [((190, 136, 76), (160, 106, 54))], 1.2, corner=1.5, bump=0.06, bump_scale=1.5),
    "bread slice": S.slice_of_bread([(196, 156, 100), (180, 136, 80), (214, 186, 140)]),
    "toast": S.slice_of_bread([(196, 140, 80), (176, 110, 56), (214, 170, 116)]),
    "cake slice": S.cake,
    "pizza slice": S.pizza,
    "watermelon slice": S.watermelon,
    "fried egg": S.fried_egg,
    "doughnut": S.doughnut,
    "hamburger": S.hamburger,
    "pancakes": S.pancakes,
    "broccoli": S.floret((120, 150, 80), [(60, 100, 44), (70, 110, 50)]),
    "cauliflower": S.floret((214, 204, 170), [(222, 212, 190), (206, 190, 160)]),
}


def pear_standing(rng, device):
    """A pear on its base: two balls, the upper one slender."""
    import torch
    from .shapes import Look, mottled, vary
    R, H = rng.uniform(3.2, 3.7), rng.uniform(8.5, 10.5)
    base, other = (vary(rng, c) for c in F.choose(rng, [((150, 156, 64), (134, 140, 56)), ((180, 130, 66), (166, 110, 56)), ((196, 150, 80), (180, 100, 50))]))

    def build(u, v):
        rho = torch.sqrt(u**2 + v**2)
        low = 0.36 * H + 0.36 * H * F.signed_power(1 - (rho / R) ** 2, 0.5).clamp_min(-0.6)
        t = (1 - rho / R).clamp(-1, 1)
        neck = 0.36 * H + 0.64 * H * F.signed_power(t, 0.5).clamp_min(-0.6) ** 1
        top = torch.maximum(low, 0.5 * (low + neck) + 0.12 * H * torch.exp(-((rho / 0.9) ** 2)))
        bottom = 0.36 * H * (1 - F.signed_power(1 - (rho / R) ** 2, 0.5).clamp_min(-0.6))
        rgb = mottled(rng, device, u, v, base, other, 3.0, 0.8)
        top = torch.where(rho < 0.14, top + 1.6, top)
        return top, bottom, Look(F.stalk(rgb, u, v, 0.2), 0.2)

    return Piece(R, R, build)


def piece(label, rng, device):
    """A Piece of that food in one of its shapes."""
    if label == "pear":
        return pear_standing(rng, device) if rng.random() < 0.65 else PIECES["pear lying"](rng, device)
    if label == "kiwi" and rng.random() < 0.3:
        return PIECES["kiwi whole"](rng, device)
    return PIECES[label](rng, device)


FRUIT = ["apple", "avocado half", "banana", "blueberries", "grapes", "kiwi", "lemon", "orange", "orange slices", "peach", "pear", "strawberries",
         "tomato", "watermelon slice", "plum", "mango"]
SNACK = ["cookie", "brownie", "pizza slice", "cake slice", "doughnut", "hamburger", "bread roll", "croissant", "sushi rolls", "cheese", "toast",
         "bread slice", "pancakes", "watermelon slice", "strawberries", "avocado half", "pear", "muffin"][:-1]
BREAKFAST = ["boiled egg half", "omelette", "scrambled eggs", "egg", "tomato slices", "toast", "cheese", "beans", "fried egg", "pancakes", "cherry tomatoes",
             "banana", "croissant", "sausage", "avocado half", "bread slice", "baked beans", "bread roll"]
BOWL = [k for k, h in HEAPS.items() if h.bowl > 0]
ECUSTFD = ["apple", "banana", "bread", "bun", "doughnut", "egg", "fried dough twist", "grape", "lemon", "litchi", "mango", "mooncake", "orange", "peach",
           "pear", "plum", "kiwi", "sachima", "tomato"]
DINNER = [k for k in [*PIECES, *HEAPS] if k not in {*FRUIT, *SNACK, "bread", "bun", "litchi", "grape", "mooncake", "sachima", "fried dough twist", "kiwi whole",
          "pear lying", "soup", "porridge", "yogurt", "granola"}] + ["avocado half", "tomato", "bread roll"]
