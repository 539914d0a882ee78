/* What torchaudio's library of PyPI wants of torch's CUDA libraries; on a CPU none of it is called. Built twice by `make bench-align`. */
int aoti_torch_get_current_cuda_stream(void) { return 1; }
int torch_c10_cuda_check_msg(void) { return 1; }
int torch_c10_cuda_free_error_msg(void) { return 1; }
int torch_cuda_stream_synchronize(void) { return 1; }
int torch_get_cuda_stream_from_pool(void) { return 1; }
int torch_set_current_cuda_stream(void) { return 1; }
