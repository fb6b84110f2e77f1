// Package checkpoint reads a Hugging Face model directory: the weights
// (model.safetensors, or an index and its shards), config.json in the spellings
// of transformers 4 and 5, and the tokens that begin and end a text.
//
// Everything read is taken for hostile until it is checked. A file that breaks a
// rule gives one error that names the file, the tensor or key, what is wrong and
// what to do; nothing is allocated on the word of a file before that word has
// been compared with the file's size.
package checkpoint
