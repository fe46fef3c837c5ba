// Tokenizers of folders that have a `tokenizer.model` and no tokenizer.json: byte-pair models of
// SentencePiece. Source: the format of SentencePiece's model files.
//
// limbic reads the file itself and merges by its scores. Debian's libsentencepiece exports a
// protobuf of its own, of another version than the one gRPC needs in the same process.
#pragma once

#include <string>

#include "data/tokenizer/tokenizer_parts.h"

namespace limbic::data {

// Fills `parts` from the file; `parts.config` is read already. Control pieces are found in a text
// like the special tokens of tokenizer.json. As transformers does, a space goes in front of every
// stretch between them, or with `legacy: false` in the config in front of the text alone. Throws
// DataError: no such model, another algorithm than BPE, a normalisation rule, unused pieces.
void load_sentencepiece(const std::string& path, Tokenizer::Parts& parts);

}  // namespace limbic::data
