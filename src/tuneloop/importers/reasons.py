"""Keys that need no thought: why they have no effect on what is learned, or none here."""

from tuneloop.importers.ledger import Kind

_LOGS = "is about logging; a run writes events.jsonl, tensorboard/ and report.html by itself."
_SAVES = "is about saving; tuneloop saves at each validation, and the same command goes on after a stop."
_SPEED = "is about speed; results do not depend on it, and tuneloop chooses by itself."
_LOADING = "is about how data is loaded; tuneloop reads, renders and caches by itself."
_PARALLEL = "tuneloop's run is one process; sharding over many is not carried."
_QUANTISED = "is not carried: tuneloop rounds a frozen base to nf4, fp4 or int8 (model.quantization), nothing else."
_OTHER_OPTIMIZER = "belongs to an optimiser that tuneloop does not have; stages.optimizer chooses one."
_MEDIA = "is about pictures, sound or film; tuneloop trains on text."
_NOISE = "changes what is learned in a way that tuneloop does not have."
_GENERATION = "is about generation, not training; evaluate.generate decides here."
_METHOD = "belongs to a method that is not supervised fine-tuning."
_OTHER_TUNING = "belongs to a way of tuning that tuneloop does not have; tune.kind chooses one: see docs/methods."

_IGNORED: dict[str, str] = {
    _LOGS: """
        logging_* log_* report_to plot_loss run_name wandb_* use_wandb mlflow_* use_mlflow comet_* use_comet
        swanlab_* use_swanlab trackio_* use_trackio use_tensorboard project disable_tqdm
        include_num_input_tokens_seen include_tokens_per_second include_tkps profiler_*
        include_effective_tokens_per_second print_param_status otel_* use_otel_metrics skip_memory_metrics
        enable_torch_profiler profile_modules debug
    """,
    _SAVES: """
        save_* saves_per_epoch output_dir overwrite_output_dir resume_from_checkpoint hub_* push_to_hub
        auto_resume_from_checkpoints create_checkpoint_symlink add_version merge_lora export_*
        restore_callback_states_from_checkpoint resume_only_model enable_jit_checkpoint max_shard_size
        safe_serialization use_flash_ckpt
    """,
    _SPEED: """
        tf32 flash_attn* flash_attention attn_implementation attn_impl sdp_attention eager_attention
        xformers_attention flex_att* sdpa_varlen sage_attention torch_compile* use_cache use_kv_cache liger_*
        use_liger_kernel enable_liger_kernel low_cpu_mem_usage use_unsloth*
        gradient_checkpointing_kwargs use_reentrant_gc activation_offloading lora_*_kernel padding_free
        pad_to_sequence_len pad_to_multiple_of sample_packing_* multipack_* eval_sample_packing gc_*steps
        torch_empty_cache_steps cut_cross_entropy chunked_cross_entropy* auto_find_batch_size use_kernels
        layer_offloading batch_flattening group_by_length eval_packing packing_* activation_checkpointing_kwargs
        use_v1_kernels tiled_mlp* use_logits_to_keep experts_impl experts_implementation gpu_memory_limit
        experimental_skip_move_to_device ple_cpu_offload tuner_backend use_swift_lora train_sampling_strategy
        length_column_name full_determinism
    """,
    _LOADING: """
        dataloader_* preprocessing_* dataset_num_proc dataset_processes dataset_prepared_path cache_dir
        overwrite_cache load_from_cache_file remove_unused_columns tokenized_path data_shared_file_system
        dataset_keep_in_memory dataset_kwargs lazy_tokenize download_mode skip_prepare_dataset data_seed
        tokenizer_type tokenizer_use_fast tokenizer_legacy use_fast_tokenizer model_type padding_side
        is_*_derived_model type_of_model val_dataset_shuffle streaming_multipack_buffer_size local_repo_path
    """,
    "is not needed: tuneloop runs no code of a model's folder.": """
        trust_remote_code
    """,
    "is a secret, and none of a recipe; log in with the hub's own command.": """
        hf_hub_token ms_hub_token om_hub_token hf_use_auth_token
    """,
    "is about how the tool checks its own input.": """
        strict check_model ignore_args_error
    """,
    "tuneloop masks by position and needs no token of its own to pad with.": """
        pad_token special_tokens.pad_token
    """,
    "is about how processes talk to each other.": """
        ddp_* local_rank ddp env.* ray_* use_ray resources_per_worker placement_strategy gpu_ids main_process_port
        average_tokens_across_devices master_*
    """,
    "is done in every run.": """
        do_train do_eval eval_on_start
    """,
    "holds for validation, whose result it does not change.": """
        per_device_eval_batch_size eval_batch_size eval_accumulation_steps eval_delay eval_do_concat_batches
        prediction_loss_only compute_accuracy metric_for_best_model greater_is_better eval_table_size
        eval_max_new_tokens batch_eval_metrics do_causal_lm_eval eval_causal_lm_metrics label_names
        eval_on_each_dataset bf16_full_eval fp16_full_eval eval_use_gather_object include_for_metrics acc_strategy
    """,
    "tuneloop stops by itself after several steps whose loss is not finite.": """
        loss_watchdog_*
    """,
    _GENERATION: """
        predict_with_generate max_new_tokens temperature top_k top_p do_sample num_beams stream repetition_penalty
        generation_* infer_* vllm_* sglang_* do_predict eval_num_beams
    """,
}

_NOT_CARRIED: dict[str, str] = {
    _PARALLEL: """
        deepspeed deepspeed_* fsdp fsdp_* accelerator_config parallelism_config *_parallel_size
        sequence_parallel_degree dp_*_size ring_attn_func heads_k_stride device_map max_memory use_mca
        accelerate_config config_file mixed_precision use_deepspeed use_fsdp tensor_parallel_size num_machines
        device_groups zero_hpz_partition_size ddp_device_map deepcompile
    """,
    _QUANTISED: """
        load_in_4bit load_in_8bit quantization_* quant_* bnb_* double_quantization qat fp8* hqq_axis
        use_bnb_nested_quant model_quantization_config* quantization quantize_moe_experts
    """,
    "says that the base is quantised already; give the whole one, and model.quantization.": """
        gptq*
    """,
    _OTHER_OPTIMIZER: """
        use_galore galore_* use_apollo apollo_* use_badam badam_* use_muon use_adam_mini dion_* optim_args
        optim_target_modules adam_beta3 adam_epsilon2 lisa_* torchdistx_path
    """,
    "is about Q-GaLore, which rounds directions and weights; tuneloop's GaLore rounds neither.": """
        qgalore_*
    """,
    "all weights learn at one rate; tune.loraplus_lr_ratio raises that of LoRA's B.": """
        lr_groups embedding_lr* loraplus_* lorap_*
    """,
    _OTHER_TUNING: """
        use_llama_pro llamapro_* oft_* adalora_* boft_* vera_* fourier_* lora_ga_* reft_* relora* jagged_restart_*
        peft peft_init_lora_weights init_weights pissa_* use_dora peft_use_dora module_dropout adapter_act
        adapter_length lora_rank_pattern lora_alpha_pattern peft_layer_replication
    """,
    "ends a run early, whose schedule is as long as num_train_epochs; tuneloop's max_steps does both.": """
        max_epochs
    """,
    "names single blocks; tune.trainable_blocks: n puts corrections on the last n.": """
        peft_layers_*
    """,
    "biases stay frozen beside LoRA.": """
        lora_bias
    """,
    "is the type of A and B; tuneloop keeps weights that learn in float32.": """
        lora_dtype peft_autocast_adapter_dtype
    """,
    "belongs to the adapter that training goes on from.": """
        create_new_adapter adapter_folder
    """,
    "those modules stay frozen: tuneloop's LoRA moves corrections alone.": """
        additional_target lora_modules_to_save modules_to_save peft_trainable_token_indices lora_target_parameters
        target_parameters
    """,
    "tuneloop starts from a base model, not from an adapter: merge it first.": """
        adapter_name_or_path lora_model_dir adapters
    """,
    _MEDIA: """
        image_* video_* audio_* media_dir crop_to_patches freeze_vision_tower freeze_language_model
        freeze_multi_modal_projector freeze_llm freeze_vit freeze_aligner processor_* max_pixels vit_*
        freeze_mm_modules use_audio_in_video norm_bbox vit_lr aligner_lr
    """,
    _NOISE: """
        neftune_noise_alpha noisy_embedding_alpha label_smoothing_factor shift_attn s2_attention rope_scaling
        mixture_of_depths use_dft_loss use_asft_loss use_eaft* eaft_* asft_alpha cosine_min_lr_ratio
        cosine_constant_lr_ratio lr_scheduler_kwargs moe_aux_loss_coef router_aux_loss_coef unfrozen_parameters
        freeze_parameters* trainable_parameters* lr_div_factor lr_quadratic_warmup enable_dft_loss
        enable_channel_loss
    """,
    "new tokens are not added; the model's own tokenizer is used as it is.": """
        add_tokens add_special_tokens new_special_tokens* tokens special_tokens special_tokens.* resize_*
        tokenizer_config added_tokens_overrides tokenizer_use_mistral_common init_special_tokens
    """,
    "tuneloop finds the token that ends a turn in the chat template.": """
        eos_token eot_tokens
    """,
    "are not loaded; those for Liger and for cut cross-entropy only make Axolotl faster.": """
        plugins
    """,
    "fills names into ms-swift's self-cognition rows; write them into the rows.": """
        model_author model_name
    """,
    _METHOD: """
        pref_* ppo_* kto_* ref_model* reward_* simpo_gamma dpo_* rl_beta orpo_alpha cpo_alpha rpo_alpha beta
        num_generations max_completion_length max_prompt_length use_vllm trl trl.* offload_* sleep_level
        steps_per_generation log_completions num_labels rlhf_type epsilon* center_rewards_coefficient
        precompute_ref_log_probs process_reward_model ld_alpha
    """,
}

REASONS: list[tuple[str, Kind, str]] = [
    *((pattern, "ignored", text) for text, patterns in _IGNORED.items() for pattern in patterns.split()),
    *((pattern, "not_carried", text) for text, patterns in _NOT_CARRIED.items() for pattern in patterns.split()),
]
"""(pattern of the key, what becomes of it, why); the first that fits speaks."""
