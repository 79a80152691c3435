"""Six more concepts, described before anything was tuned and never looked at while tuning: what holds for the samples
must hold for them.

    python -m spectral_diffusion.toybox.sample_concepts --toys frozen --out FOLDER

photographs them as the samples were. Each is of a kind that no sample has, and carries what pretraining cannot show.
"""

from collections.abc import Mapping
from types import MappingProxyType

from spectral_diffusion.toybox.sample_concept import SampleConcept
from spectral_diffusion.toybox.toy import Accessory, Mark, Toy

FROZEN: Mapping[str, SampleConcept] = MappingProxyType(
    {
        "mochi": SampleConcept(
            "<mochi>",
            "black cat with a white moon and a pink bow",
            Toy(
                "cat",
                "black",
                face="surprised",
                accessories=(Accessory("bow", "pink"),),
                marks=(Mark("moon", "white", "forehead"),),
                tip_colour="white",
                shape=(0.4, 0.6, 0.5, 0.7, 0.4),
            ),
        ),
        "quill": SampleConcept(
            "<quill>",
            "blue duck with yellow wings wearing glasses",
            Toy(
                "duck",
                "blue",
                face="happy",
                accessories=(Accessory("glasses", "red"),),
                marks=(Mark("star", "white", "belly"),),
                part_colour="yellow",
                shape=(0.6, 0.4, 0.5, 0.5, 0.6),
            ),
        ),
        "umber": SampleConcept(
            "<umber>",
            "pink bear with a blue patch and brown paws",
            Toy(
                "bear",
                "pink",
                face="sad",
                marks=(Mark("eye_patch", "blue", "right eye"),),
                limb_colour="brown",
                tip_colour="yellow",
                shape=(0.5, 0.5, 0.7, 0.4, 0.5),
            ),
        ),
        "volt": SampleConcept(
            "<volt>",
            "yellow robot with a red star and green arms",
            Toy(
                "robot",
                "yellow",
                face="happy",
                marks=(Mark("star", "red", "belly"),),
                limb_colour="green",
                shape=(0.5, 0.6, 0.4, 0.6, 0.5),
            ),
        ),
        "comet": SampleConcept(
            "<comet>",
            "green car with an orange roof and a white moon",
            Toy(
                "car",
                "green",
                marks=(Mark("moon", "white", "side"),),
                part_colour="orange",
                shape=(0.6, 0.5, 0.5, 0.4, 0.6),
            ),
        ),
        "truffle": SampleConcept(
            "<truffle>",
            "red mushroom with a purple stem and a yellow star",
            Toy(
                "mushroom",
                "red",
                marks=(Mark("star", "yellow", "front"),),
                limb_colour="purple",
                shape=(0.5, 0.5, 0.6, 0.5, 0.4),
            ),
        ),
    }
)
"""The frozen concepts by name."""
