"""A Kaldi model as small as can be, in its text format: `vosk.Model` reads it, as vosk-transcriber does in any mode."""

from __future__ import annotations

import struct

# one phone of one state, and a network that gives it the same score for any frame
NETWORK = """\
<TransitionModel>
<Topology>
<TopologyEntry>
<ForPhones>
1
</ForPhones>
<State> 0 <PdfClass> 0 <Transition> 0 0.5 <Transition> 1 0.5 </State>
<State> 1 </State>
</TopologyEntry>
</Topology>
<Triples> 1
1 0 0
</Triples>
<LogProbs>
 [ 0 -0.6931472 -0.6931472 ]
</LogProbs>
</TransitionModel>
<Nnet3>

input-node name=input dim=13
component-node name=affine component=affine input=input
output-node name=output input=affine objective=linear

<NumComponents> 1
<ComponentName> affine <FixedAffineComponent> <LinearParams>  [
  0 0 0 0 0 0 0 0 0 0 0 0 0 ]
<BiasParams>  [ 0 ]
</FixedAffineComponent>
</Nnet3>
<LeftContext> 0 <RightContext> 0 <Priors>  [ ]
"""

FST_MAGIC = 2125659606


def write_kaldi_model(folder):
    """Write the files of a model that knows one word."""
    for name, text in {
        "am/final.mdl": NETWORK,
        "conf/model.conf": "",
        "conf/mfcc.conf": "--use-energy=false\n--num-ceps=13\n",
        "graph/words.txt": "<eps> 0\na 1\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "graph/HCLG.fst").write_bytes(_graph())


def _graph():
    """A graph in OpenFst's format `vector`: one arc that writes the word, then a loop."""
    names = b"".join(struct.pack("<i", len(name)) + name for name in (b"vector", b"standard"))
    version, flags, properties, start, states, arcs = 2, 0, 0, 0, 2, 2
    header = struct.pack("<i", FST_MAGIC) + names
    header += struct.pack("<iiQqqq", version, flags, properties, start, states, arcs)
    # of a state: its final cost and number of arcs; of an arc: input, output, cost, next state
    first = struct.pack("<fq", float("inf"), 1) + struct.pack("<iifi", 2, 1, 0.0, 1)
    last = struct.pack("<fq", 0.0, 1) + struct.pack("<iifi", 1, 0, 0.0, 1)
    return header + first + last
