import sentencepiece

sp = sentencepiece.SentencePieceProcessor("tokenizer.model")
base_bytes = [len(sp.id_to_piece(i).encode()) for i in range(sp.vocab_size())]
